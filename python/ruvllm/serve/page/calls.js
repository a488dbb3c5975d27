// The tools of a conversation and the calls that a model makes of them. The page runs none: it shows what was
// called, with the arguments as the model writes them.

import { element } from "./dom.js";

const EXAMPLE = '[{"type": "function", "function": {"name": …}}]';

/** Adds a stream's fragments to the calls of a message, by their index. */
export function takeCalls(message, fragments) {
  for (const { index, function: said } of fragments) {
    message.calls ??= [];
    const call = (message.calls[Math.min(index, message.calls.length)] ??= { name: "", arguments: "" });
    call.name += said?.name ?? "";
    call.arguments += said?.arguments ?? "";
  }
}

/** The calls of a message that was stored or imported; nothing where they are not as they should be. */
export function checkedCalls(stored) {
  const isCall = (call) => typeof call?.name === "string" && typeof call?.arguments === "string";
  if (!Array.isArray(stored) || !stored.every(isCall)) return undefined;
  return stored.map((call) => ({ name: call.name, arguments: call.arguments }));
}

/** One call on the page. */
export function callView({ name, arguments: written }) {
  const code = element("pre", {}, element("code", {}, indented(written)));
  return element("details", { class: "call", open: true }, element("summary", {}, `Called ${name}`), code);
}

function indented(written) {
  try {
    return JSON.stringify(JSON.parse(written), null, 2);
  } catch {
    return written;
  }
}

/** Reads tools as they are typed: JSON, a list of functions as the interface has them. */
export function readTools(text) {
  if (text.trim() === "") return { value: null };
  let tools;
  try {
    tools = JSON.parse(text);
  } catch (error) {
    return { problem: `This is no JSON: ${error.message}` };
  }
  const isTools = Array.isArray(tools) && tools.every((tool) => typeof tool?.function?.name === "string");
  return isTools ? { value: tools } : { problem: `A list is wanted: ${EXAMPLE}` };
}

/** Tools as they are typed. */
export const writeTools = (tools) => (tools ? JSON.stringify(tools, null, 2) : "");
