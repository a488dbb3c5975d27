// What a conversation asks the server for besides its messages. A field that is empty is not sent: the server's
// own choice stands. Each conversation has its settings; a new one begins with those that were used last.

import { readTools } from "./calls.js";
import { keep, kept } from "./keep.js";

const NAME = "ruvllm.settings";
const MAX_STOPS = 16;

/** What a first conversation begins with: the values of `ruvllm chat`, calmer than the interface's own. */
export const FIRST_SETTINGS = { system: "", temperature: 0.7, top_p: 0.9, repetition_penalty: 1.1 };

/** The number fields, in the order in which they are shown; `name` is the request's. */
export const FIELDS = [
  { name: "temperature", label: "Temperature", min: 0, max: 2, hint: "0 takes the likeliest token; higher varies." },
  { name: "max_tokens", label: "Max tokens", min: 1, isWhole: true, hint: "The longest answer." },
  { name: "top_p", label: "Top p", above: 0, max: 1, hint: "Keeps the likeliest tokens up to this share." },
  { name: "top_k", label: "Top k", min: 0, isWhole: true, hint: "Keeps so many tokens; 0 keeps all." },
  { name: "min_p", label: "Min p", min: 0, below: 1, hint: "Drops tokens below this share of the likeliest." },
  { name: "repetition_penalty", label: "Repetition penalty", above: 0, max: 10, hint: "1 changes nothing." },
  { name: "presence_penalty", label: "Presence penalty", min: -2, max: 2, hint: "Above 0: new subjects." },
  { name: "frequency_penalty", label: "Frequency penalty", min: -2, max: 2, hint: "Above 0: fewer repeated words." },
  { name: "seed", label: "Seed", min: 0, max: Number.MAX_SAFE_INTEGER, isWhole: true,
    hint: "The same seed gives the same answer." },
];

/** Reads what was typed into a number field: {value} (null where empty) or {problem}. */
export function readField(field, text) {
  if (text.trim() === "") return { value: null };
  const value = Number(text);
  if (!Number.isFinite(value)) return { problem: `${field.label} must be a number.` };
  if (field.isWhole && !Number.isInteger(value)) return { problem: `${field.label} must be a whole number.` };
  return isWithin(field, value) ? { value } : { problem: `${field.label} must be ${rangeOf(field)}.` };
}

function isWithin({ min = -Infinity, max = Infinity, above = -Infinity, below = Infinity }, value) {
  return value >= min && value <= max && value > above && value < below;
}

function rangeOf({ min, max, above, below }) {
  const parts = [];
  if (min !== undefined) parts.push(`at least ${min}`);
  if (above !== undefined) parts.push(`above ${above}`);
  if (max !== undefined) parts.push(`at most ${max}`);
  if (below !== undefined) parts.push(`below ${below}`);
  return parts.join(" and ");
}

/** Reads stop sequences, one a line; `\n` and `\t` stand for a line end and a tab. */
export function readStops(text) {
  const stops = text.split("\n").filter((line) => line !== "");
  if (stops.length > MAX_STOPS) return { problem: `At most ${MAX_STOPS} stop sequences.` };
  return { value: stops.length ? stops.map((stop) => stop.replaceAll("\\n", "\n").replaceAll("\\t", "\t")) : null };
}

/** Stop sequences as they are typed. */
export function writeStops(stops) {
  return (stops ?? []).map((stop) => stop.replaceAll("\n", "\\n").replaceAll("\t", "\\t")).join("\n");
}

/** Reads a JSON schema as it is typed: an object. */
export function readSchema(text) {
  if (text.trim() === "") return { value: null };
  try {
    const schema = JSON.parse(text);
    return isSchema(schema) ? { value: schema } : { problem: "A schema is an object: {\"type\": \"object\", ...}" };
  } catch (error) {
    return { problem: `This is no JSON: ${error.message}` };
  }
}

const isSchema = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/** How a request asks for answers of a schema. */
export const formatOf = (schema) => ({ type: "json_schema", json_schema: { name: "answer", schema } });

/** The known fields of something that was stored or imported; what is not as it should be is left out. */
export function checkedSettings(stored) {
  const settings = { system: typeof stored?.system === "string" ? stored.system : "" };
  for (const field of FIELDS) {
    const value = stored?.[field.name];
    if (typeof value === "number" && readField(field, String(value)).value === value) settings[field.name] = value;
  }
  const tools = readTools(JSON.stringify(stored?.tools ?? [])).value;
  if (tools?.length) settings.tools = tools;
  if (isSchema(stored?.schema)) settings.schema = stored.schema;
  const stops = stored?.stop;
  const isStops = Array.isArray(stops) && stops.every((stop) => typeof stop === "string" && stop !== "");
  if (isStops && stops.length && stops.length <= MAX_STOPS) settings.stop = stops;
  return settings;
}

/** The request's part of the settings. */
export function samplingFields({ system, schema, ...fields }) {
  return schema ? { ...fields, response_format: formatOf(schema) } : fields;
}

/** The settings that a new conversation begins with. */
export function lastSettings() {
  const stored = kept(NAME);
  if (stored === null) return { ...FIRST_SETTINGS };
  try {
    return checkedSettings(JSON.parse(stored));
  } catch {
    return { ...FIRST_SETTINGS };
  }
}

/** Remembers settings for the next new conversation. */
export function rememberSettings(settings) {
  keep(NAME, JSON.stringify(settings));
}
