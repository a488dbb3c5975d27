// Says a JSON schema in words: the type of a value, and the fields of an object with those of the objects in it.

const MAX_DEPTH = 4;

/** What a reference (`$ref`) into the description leads to; anything else is itself. */
export function resolved(schema, description) {
  let found = schema;
  for (let hops = 0; found.$ref && hops < 8; hops += 1) {
    found = found.$ref.replace("#/", "").split("/").reduce((part, key) => part?.[key], description) ?? {};
  }
  return found;
}

const alternatives = (schema) => schema.anyOf ?? schema.oneOf ?? (schema.allOf?.length === 1 ? schema.allOf : null);

/** A short name for what a value may be: `integer`, `list of string`, `"auto" or "none"`, `number or null`. */
export function typeOf(schema, description, depth = 0) {
  const found = resolved(schema, description);
  const parts = alternatives(found);
  if (parts) return [...new Set(parts.map((part) => typeOf(part, description, depth)))].join(" or ");
  if ("const" in found) return JSON.stringify(found.const);
  if (found.enum) return found.enum.map((value) => JSON.stringify(value)).join(" or ");
  if (found.type === "array") {
    return depth < MAX_DEPTH ? `list of ${typeOf(found.items ?? {}, description, depth + 1)}` : "list";
  }
  return [found.type ?? "anything"].flat().join(" or ");
}

/** {name, type, required, text} of each field; names of inner fields carry the way to them, `messages[].role`. */
export function fieldsOf(schema, description, prefix = "", depth = 0) {
  const fields = [];
  const seen = new Set();
  for (const object of objectsIn(schema, description)) {
    for (const [key, value] of Object.entries(object.properties ?? {})) {
      const name = prefix + key;
      if (seen.has(name)) continue;
      seen.add(name);
      const required = (object.required ?? []).includes(key);
      fields.push({ name, type: typeOf(value, description), required, text: meaning(value, description) });
      if (depth >= MAX_DEPTH) continue;
      const inner = holdsList(value, description) ? `${name}[].` : `${name}.`;
      for (const field of fieldsOf(value, description, inner, depth + 1)) {
        if (!seen.has(field.name)) fields.push(field);
        seen.add(field.name);
      }
    }
  }
  return fields;
}

// The objects that a value may be or hold, through references, alternatives and lists.
function objectsIn(schema, description, depth = 0) {
  const found = resolved(schema, description);
  if (depth > MAX_DEPTH) return [];
  const parts = alternatives(found);
  if (parts) return parts.flatMap((part) => objectsIn(part, description, depth + 1));
  if (found.type === "array") return objectsIn(found.items ?? {}, description, depth + 1);
  return found.properties ? [found] : [];
}

function holdsList(schema, description) {
  const found = resolved(schema, description);
  return [found, ...(alternatives(found) ?? [])].some((part) => resolved(part, description).type === "array");
}

const LIMITS = [
  ["minimum", "at least"], ["exclusiveMinimum", "above"], ["maximum", "at most"], ["exclusiveMaximum", "below"],
  ["minItems", "items at least"], ["maxItems", "items at most"], ["maxLength", "characters at most"],
];

/** What a value means, with its limits and its default. */
export function meaning(schema, description) {
  const found = resolved(schema, description);
  const limits = [found, ...(alternatives(found) ?? [])].flatMap((part) => {
    return LIMITS.filter(([name]) => part[name] !== undefined).map(([name, words]) => `${words} ${part[name]}`);
  });
  const hasDefault = found.default !== undefined && found.default !== null;
  const byDefault = hasDefault ? `default ${JSON.stringify(found.default)}` : "";
  const parts = [schema.description ?? found.description, limits.join(", "), byDefault];
  return parts.filter(Boolean).map((part) => part.replace(/\.$/, "")).join("; ");
}
