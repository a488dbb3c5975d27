// Shows `/openapi.json` to people: each request with its fields and answers. Reads only; it sends no requests
// but the one for the description.

import { byId, element } from "./dom.js";
import { fieldsOf, meaning, resolved, typeOf } from "./schema.js";
import { ask } from "./server.js";

const METHODS = ["get", "post", "put", "patch", "delete"];
const JSON_TYPE = "application/json";

function operations(description) {
  return Object.entries(description.paths ?? {}).flatMap(([path, item]) => {
    return METHODS.filter((method) => item[method]).map((method) => ({ path, method, ...item[method] }));
  });
}

const anchorOf = ({ method, path }) => `${method}-${path.replaceAll(/[^a-zA-Z0-9]+/g, "-")}`;

function methodMark(method) {
  return element("span", { class: `method ${method}` }, method.toUpperCase());
}

function contentsEntry(operation) {
  const path = element("code", {}, operation.path);
  return element("a", { href: `#${anchorOf(operation)}` }, methodMark(operation.method), path);
}

function operationSection(operation, description) {
  const body = operation.requestBody?.content?.[JSON_TYPE]?.schema;
  const id = anchorOf(operation);
  return element("section", { id, class: "operation", "aria-labelledby": `${id}-heading` },
    element("h2", { id: `${id}-heading` }, methodMark(operation.method), " ", element("code", {}, operation.path)),
    operation.summary ? element("p", { class: "summary" }, operation.summary) : null,
    ...paragraphs(operation.description),
    ...section("Parameters", parameterTable(operation.parameters, description)),
    ...section("Body", body && schemaTable(body, description)),
    element("h3", {}, "Answers"),
    ...Object.entries(operation.responses ?? {}).map(([status, response]) => answer(status, response, description)));
}

const section = (title, content) => (content ? [element("h3", {}, title), content] : []);

function paragraphs(text) {
  return (text ?? "").split(/\n\s*\n/).filter((part) => part.trim()).map((part) => element("p", {}, part.trim()));
}

function parameterTable(parameters, description) {
  if (!parameters?.length) return null;
  return fieldTable(parameters.map(({ name, required, schema = {}, description: own, in: place }) => {
    const text = [`in the ${place}`, own, meaning(schema, description)].filter(Boolean).join("; ");
    return { name, type: typeOf(schema, description), required, text };
  }));
}

function schemaTable(schema, description) {
  const fields = fieldsOf(schema, description);
  return fields.length ? fieldTable(fields) : element("p", {}, element("code", {}, typeOf(schema, description)));
}

function fieldTable(fields) {
  const titles = ["Field", "Type", "Meaning"].map((title) => element("th", { scope: "col" }, title));
  const head = element("thead", {}, element("tr", {}, ...titles));
  const table = element("table", {}, head, element("tbody", {}, ...fields.map(fieldRow)));
  return element("div", { class: "table", role: "region", "aria-label": "Fields", tabindex: "0" }, table);
}

function fieldRow({ name, type, required, text }) {
  const mark = required ? element("span", { class: "required" }, " required") : null;
  return element("tr", {},
    element("th", { scope: "row" }, element("code", {}, name), mark),
    element("td", {}, element("code", {}, type)),
    element("td", {}, text ?? ""));
}

function answer(status, named, description) {
  const response = resolved(named, description);
  const schema = response.content?.[JSON_TYPE]?.schema;
  const fields = schema ? fieldsOf(schema, description) : [];
  const line = [element("code", {}, status), ` ${response.description ?? ""}`];
  if (!fields.length) return element("p", { class: "answer" }, ...line);
  return element("details", { class: "answer" }, element("summary", {}, ...line), fieldTable(fields));
}

async function show() {
  const description = await (await ask("openapi.json")).json();
  const all = operations(description);
  const { title = "The interface", version = "", description: text } = description.info ?? {};
  byId("heading").textContent = [title, version].filter(Boolean).join(" ");
  byId("summary").replaceWith(...paragraphs(text));
  byId("contents").append(...all.map(contentsEntry));
  byId("operations").append(...all.map((operation) => operationSection(operation, description)));
  // The browser looked for the address's anchor before it was there.
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

try {
  await show();
} catch (error) {
  byId("summary").textContent = `The description could not be shown: ${error.message}`;
}
