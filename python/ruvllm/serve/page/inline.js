// Reads the inside of a paragraph: code, emphasis, links, line breaks. Gives a tree of plain objects
// ({type: "text" | "code" | "formula" | "break" | "em" | "strong" | "del" | "link", ...}) and makes no DOM.
// HTML is text here. Links lead to http and https only; everything else that looks like one stays text.

import { formulaAt } from "./formula_text.js";
import { delimiter, pairDelimiters } from "./inline_marks.js";

const MAX_DEPTH = 24;
const MAX_PARENTHESES = 32;
const MAX_DESTINATION = 2000;
const ESCAPABLE = /[!-/:-@[-`{-~]/;
const ENTITY = /&(?:#(\d{1,7})|#[xX]([0-9a-fA-F]{1,6})|([a-z]{2,6}));/y;
const ENTITIES = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'", nbsp: "\u00a0", copy: "©", hellip: "…" };
const PLAIN = /[^\\`*_~[\]!<&\nh$]+/y;
const BARE_ADDRESS = /https?:\/\/[^\s<>"'`\\^{|}]{1,2000}/y;
const ANGLE_ADDRESS = /<(https?:\/\/[^\s<>]{1,2000})>/y;
const TICKS = /`+/y;
const LINE_BREAK_TAG = /<br ?\/?>/iy;

/** The address in its normal form if a reader may be sent there, else null. */
export function allowedAddress(text) {
  if (!/^https?:\/\//i.test(text)) return null;
  try {
    const address = new URL(text);
    return address.protocol === "https:" || address.protocol === "http:" ? address.href : null;
  } catch {
    return null;
  }
}

/** The tree of one run of text. */
export function parseInline(text) {
  const state = { text, at: 0, tokens: [], brackets: [], ticks: codeFences(text) };
  while (state.at < text.length) step(state);
  return tree(state.tokens);
}

function step(state) {
  const plain = match(PLAIN, state);
  if (plain) return push(state, plain[0], plain[0].length);
  const handle = HANDLERS[state.text[state.at]];
  if (!handle || !handle(state)) push(state, state.text[state.at], 1);
  return undefined;
}

const HANDLERS = {
  "\\": (state) => readFormula(state) || readEscape(state),
  $: readFormula,
  "`": readCode,
  "*": readDelimiter,
  _: readDelimiter,
  "~": readDelimiter,
  "[": (state) => openBracket(state, 1),
  "!": (state) => state.text[state.at + 1] === "[" && openBracket(state, 2),
  "]": closeBracket,
  "<": readAngle,
  "&": readEntity,
  "\n": readNewline,
  h: readBareAddress,
};

function match(pattern, state) {
  pattern.lastIndex = state.at;
  return pattern.exec(state.text);
}

function push(state, text, length) {
  const last = state.tokens.at(-1);
  if (last?.type === "text" && !last.bracket) last.text += text;
  else state.tokens.push({ type: "text", text });
  state.at += length;
  return true;
}

function take(state, token, length) {
  state.tokens.push(token);
  state.at += length;
  return true;
}

function readFormula(state) {
  const found = formulaAt(state.text, state.at);
  return found !== null && take(state, { type: "formula", ...found }, found.written.length);
}

function readEscape(state) {
  const next = state.text[state.at + 1] ?? "";
  if (next === "\n") return take(state, { type: "break" }, 2);
  return ESCAPABLE.test(next) && push(state, next, 2);
}

// Where the runs of backticks of each length stand, so that looking for a partner is cheap.
function codeFences(text) {
  const runs = new Map();
  for (const run of text.matchAll(/`+/g)) {
    if (!runs.has(run[0].length)) runs.set(run[0].length, []);
    runs.get(run[0].length).push(run.index);
  }
  return runs;
}

function readCode(state) {
  const length = match(TICKS, state)[0].length;
  const starts = state.ticks.get(length) ?? [];
  while (starts.length && starts[0] <= state.at) starts.shift();
  if (!starts.length) return push(state, "`".repeat(length), length);
  const inside = state.text.slice(state.at + length, starts[0]).replace(/\n/g, " ");
  const padded = inside.startsWith(" ") && inside.endsWith(" ") && inside.trim() !== "";
  const code = { type: "code", text: padded ? inside.slice(1, -1) : inside };
  return take(state, code, starts[0] + length - state.at);
}

function readDelimiter(state) {
  const mark = state.text[state.at];
  let end = state.at;
  while (state.text[end] === mark) end += 1;
  const before = state.at > 0 ? lastCharacter(state.text, state.at) : "";
  const after = end < state.text.length ? String.fromCodePoint(state.text.codePointAt(end)) : "";
  return take(state, delimiter(mark, end - state.at, before, after), end - state.at);
}

function lastCharacter(text, end) {
  const low = text.charCodeAt(end - 1);
  return low >= 0xdc00 && low <= 0xdfff && end > 1 ? text.slice(end - 2, end) : text[end - 1];
}

function openBracket(state, length) {
  state.brackets.push({ token: state.tokens.length, usable: true });
  return take(state, { type: "text", text: length === 2 ? "![" : "[", bracket: true }, length);
}

function closeBracket(state) {
  const opener = state.brackets.pop();
  if (!opener?.usable) return false;
  const target = readDestination(state.text, state.at + 1);
  const address = target && allowedAddress(decodeEntities(target.address));
  if (!address) return false;
  const inner = state.tokens.splice(opener.token);
  inner.shift();
  // A picture becomes a link to it: showing it would tell its server who reads this, and when.
  state.brackets.forEach((bracket) => {
    bracket.usable = false;
  });
  const children = tree(inner.map(withoutLink));
  return take(state, { type: "link", address, children }, target.end - state.at);
}

// An address within a link's own text is only text: the link leads where it says it leads.
function withoutLink(token) {
  return token.type === "link" ? { type: "text", text: token.children[0].text } : token;
}

// `(address)`, `(<address>)`, `(address "title")` from `start` on; titles are read over.
function readDestination(text, start) {
  const rest = text.slice(start, start + MAX_DESTINATION);
  const angled = /^\(\s*<([^<>\n]*)>/.exec(rest);
  const address = angled ? angled[1] : bareDestination(rest);
  if (address === null) return null;
  const consumed = angled ? angled[0].length : /^\(\s*/.exec(rest)[0].length + address.length;
  const tail = /^(?:\s+(?:"[^"]*"|'[^']*'|\([^()]*\)))?\s*\)/.exec(rest.slice(consumed));
  if (!tail) return null;
  return { address: address.replace(/\\([!-/:-@[-`{-~])/g, "$1"), end: start + consumed + tail[0].length };
}

function bareDestination(rest) {
  const opening = /^\(\s*/.exec(rest);
  if (!opening) return null;
  let depth = 0;
  for (let index = opening[0].length; index < rest.length; index += 1) {
    const character = rest[index];
    if (character === "\\") index += 1;
    else if (character === "(") depth += 1;
    else if (character === ")") depth -= 1;
    if (depth > MAX_PARENTHESES) return null;
    if (depth < 0 || /\s/.test(character)) return rest.slice(opening[0].length, index);
  }
  return null;
}

function readAngle(state) {
  const lineBreak = match(LINE_BREAK_TAG, state);
  if (lineBreak) return take(state, { type: "break" }, lineBreak[0].length);
  const found = match(ANGLE_ADDRESS, state);
  const address = found && allowedAddress(found[1]);
  if (!address) return false;
  return take(state, { type: "link", address, children: [{ type: "text", text: found[1] }] }, found[0].length);
}

function readBareAddress(state) {
  const before = state.text[state.at - 1] ?? " ";
  const found = /[\p{L}\p{N}]/u.test(before) ? null : match(BARE_ADDRESS, state);
  if (!found) return false;
  const shown = withoutTrail(found[0]);
  const address = allowedAddress(shown);
  if (!address) return false;
  return take(state, { type: "link", address, children: [{ type: "text", text: shown }] }, shown.length);
}

// A sentence's point or a bracket around the address is not part of it.
function withoutTrail(address) {
  let end = address.length;
  while (end > 0) {
    const last = address[end - 1];
    const part = address.slice(0, end);
    const unpaired = last === ")" && part.split(")").length > part.split("(").length;
    if (!/[.,;:!?*_~\]]/.test(last) && !unpaired) break;
    end -= 1;
  }
  return address.slice(0, end);
}

function readEntity(state) {
  const found = match(ENTITY, state);
  const character = found && entityCharacter(found);
  return character ? push(state, character, found[0].length) : false;
}

function entityCharacter([, decimal, hexadecimal, name]) {
  if (name) return Object.hasOwn(ENTITIES, name) ? ENTITIES[name] : null;
  const code = decimal ? Number.parseInt(decimal, 10) : Number.parseInt(hexadecimal, 16);
  const surrogate = code >= 0xd800 && code <= 0xdfff;
  return code === 0 || code > 0x10ffff || surrogate ? "\ufffd" : String.fromCodePoint(code);
}

function decodeEntities(text) {
  return text.replace(new RegExp(ENTITY.source, "g"), (whole, ...groups) => {
    return entityCharacter([whole, ...groups.slice(0, 3)]) ?? whole;
  });
}

function readNewline(state) {
  const last = state.tokens.at(-1);
  if (last?.type === "text") last.text = last.text.replace(/ +$/, "");
  take(state, { type: "break" }, 1);
  while (state.text[state.at] === " ") state.at += 1;
  return true;
}

// From flat tokens to a tree; marks nested deeper than anyone reads are left out.
function tree(tokens) {
  pairDelimiters(tokens);
  const root = { children: [] };
  const open = [root];
  for (const token of tokens) {
    if (token.type !== "delimiter") {
      addText(open.at(-1), token);
      continue;
    }
    token.closes.forEach(() => open.length > 1 && open.pop());
    if (token.left) addText(open.at(-1), { type: "text", text: token.mark.repeat(token.left) });
    for (const type of token.opens) {
      const node = { type, children: [] };
      if (open.length < MAX_DEPTH) open.at(-1).children.push(node);
      open.push(open.length < MAX_DEPTH ? node : open.at(-1));
    }
  }
  return root.children;
}

function addText(parent, token) {
  const last = parent.children.at(-1);
  if (token.type === "text" && last?.type === "text") last.text += token.text;
  else parent.children.push(token.type === "text" ? { type: "text", text: token.text } : token);
}
