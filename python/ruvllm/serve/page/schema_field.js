// The field for the JSON schema that answers must follow. What is typed counts as soon as it is a JSON object; what
// the server cannot hold answers to, it says itself, and its words stand below the field.

import { element } from "./dom.js";
import { ask } from "./server.js";
import { formatOf, readSchema } from "./settings.js";

const ASK_AFTER_MS = 400;
const HINT = "Answers are JSON that it allows. The model does not see it: say in a message what they are to be.";

/** The field; `model()` gives the name of the model that is asked whether it can be held to the schema. */
export function schemaField(schema, { model, onValue }) {
  const id = "setting-schema";
  const area = element("textarea", { id, rows: "4", placeholder: "A JSON schema", spellcheck: "false" });
  const below = element("p", { class: "hint", id: `${id}-hint`, role: "status" }, HINT);
  area.setAttribute("aria-describedby", below.id);
  area.value = schema ? JSON.stringify(schema, null, 2) : "";
  let asked = 0;

  function show(problem) {
    below.textContent = problem ?? HINT;
    below.classList.toggle("problem", Boolean(problem));
    area.setAttribute("aria-invalid", String(Boolean(problem)));
  }

  // Only the last question's answer is shown: what is typed meanwhile is another schema.
  async function check(value, afterMs) {
    const question = ++asked;
    await new Promise((resolve) => setTimeout(resolve, afterMs));
    if (question !== asked || !area.isConnected) return;
    const problem = await problemOf(value, model);
    if (question === asked) show(problem);
  }

  area.addEventListener("input", () => {
    const { value, problem } = readSchema(area.value);
    asked += 1;
    show(problem);
    if (problem) return;
    onValue(value);
    if (value) check(value, ASK_AFTER_MS);
  });
  if (schema) check(schema, 0);
  return element("div", { class: "field" }, element("label", { for: id }, "JSON schema"), area, below);
}

// What the server says against a schema. Any other trouble is none of the schema's, and is told with a message.
async function problemOf(schema, model) {
  try {
    const messages = [{ role: "user", content: "." }];
    await ask("v1/chat/completions/render", {
      body: { model: await model(), messages, response_format: formatOf(schema) },
    });
    return null;
  } catch (error) {
    return error.kind === "refused" && error.code === "invalid_json_schema" ? error.message : null;
  }
}
