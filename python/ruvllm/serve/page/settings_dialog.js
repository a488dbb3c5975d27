// The dialog for a conversation's settings. What is typed counts at once if it is well formed; else the field
// says what is wrong and the former value stands.

import { textButton } from "./buttons.js";
import { readTools, writeTools } from "./calls.js";
import { openDialog } from "./dialogs.js";
import { element } from "./dom.js";
import { presetField } from "./preset_field.js";
import { schemaField } from "./schema_field.js";
import { FIELDS, FIRST_SETTINGS, readField, readStops, writeStops } from "./settings.js";

/** Opens the dialog; `onChange(settings)` gets the whole settings after each change, `model()` gives a model's name. */
export function openSettings(settings, { onChange, onKey, model }) {
  let current = { ...settings };
  const change = (name, value) => {
    current = { ...current, [name]: value };
    if (value === null) delete current[name];
    onChange(current);
  };
  const replace = (wanted) => {
    current = wanted;
    onChange(current);
    draw();
  };
  const draw = () => {
    const numbers = FIELDS.map((field) => {
      return numberField(field, current[field.name], (value) => change(field.name, value));
    });
    form.replaceChildren(
      systemField(current.system, (value) => change("system", value)),
      element("h3", {}, "Sampling"),
      element("p", { class: "hint" }, "An empty field leaves the choice to the server, which does as OpenAI’s does."),
      element("div", { class: "field-grid" }, ...numbers, stopField(current.stop, (value) => change("stop", value))),
      element("h3", {}, "Answers"),
      schemaField(current.schema, { model, onValue: (value) => change("schema", value) }),
      element("h3", {}, "Tools"),
      toolsField(current.tools, (value) => change("tools", value)),
    );
  };
  const form = element("div", { class: "dialog-form" });
  const presets = element("div", { class: "dialog-form" }, presetField({ current: () => current, onChoose: replace }));
  const reset = textButton("Sampling as at first", () => {
    const { system, tools, schema } = current;
    replace({ ...FIRST_SETTINGS, system, ...(tools && { tools }), ...(schema && { schema }) });
  });
  const key = textButton("Server’s key…", onKey, { iconName: "key" });
  const buttons = element("div", { class: "dialog-buttons" }, key, reset);
  draw();
  const note = element("p", { class: "hint" }, "For this conversation; new ones begin with the same.");
  openDialog("Settings", [note, presets, form, buttons], { kind: "wide" });
}

function systemField(value, onValue) {
  const field = element("textarea", { id: "setting-system", rows: "4", placeholder: "How the model should answer" });
  field.value = value ?? "";
  field.addEventListener("input", () => onValue(field.value));
  return element("div", { class: "field" }, element("label", { for: "setting-system" }, "System prompt"), field);
}

function numberField(field, value, onValue) {
  const attributes = { type: "text", inputmode: "decimal", placeholder: "server’s choice", autocomplete: "off" };
  const input = element("input", attributes);
  input.value = value === undefined ? "" : String(value);
  return checkedField(field.name, field.label, field.hint, input, (text) => readField(field, text), onValue);
}

function stopField(stops, onValue) {
  const area = element("textarea", { rows: "2", placeholder: "one a line" });
  area.value = writeStops(stops);
  const hint = "The answer ends before them; \\n stands for a line end.";
  return checkedField("stop", "Stop sequences", hint, area, readStops, onValue);
}

function toolsField(tools, onValue) {
  const placeholder = "JSON, as tools of a chat completion";
  const area = element("textarea", { rows: "4", placeholder, spellcheck: "false" });
  area.value = writeTools(tools);
  const hint = "What the model may call. The page shows calls, and runs none.";
  return checkedField("tools", "Tools", hint, area, readTools, onValue);
}

function checkedField(name, label, hint, input, read, onValue) {
  const id = `setting-${name}`;
  const below = element("p", { class: "hint", id: `${id}-hint` }, hint);
  input.id = id;
  input.setAttribute("aria-describedby", below.id);
  input.addEventListener("input", () => {
    const { value, problem } = read(input.value);
    below.textContent = problem ?? hint;
    below.classList.toggle("problem", Boolean(problem));
    input.setAttribute("aria-invalid", String(Boolean(problem)));
    if (!problem) onValue(value);
  });
  return element("div", { class: "field" }, element("label", { for: id }, label), input, below);
}
