// Where formulas are in a text: between $ and $, $$ and $$, \( and \), \[ and \], or in lines from \begin{align} to its
// \end. A dollar is often money, so what stands between single ones has to look like a formula.

const MAX_INLINE = 1000;
const MAX_DISPLAY = 4000;
const MAX_LINES = 200;
const OPENS_LINE = /^ {0,3}(?:\$\$|\\\[|\\begin\{((?:equation|align|gather|multline)\*?)\})/;
const ENDINGS = { "$$": "$$", "\\[": "\\]", "\\(": "\\)" };
// After a formula's end only a stop or a comma may stand, where it has its lines for itself.
const AFTER = /^[ \t]*[.,;:]?[ \t]*$/;
// "$n$th" is a formula; "$5-$6" and "$HOME:$PATH" are none.
const GOES_ON = /^(?!(?:th|st|nd|rd|s)(?![\p{L}\p{N}]))[\p{L}\p{N}$]/u;
// Words beside each other, or one between two things that nothing connects: "$5, but he has 6$". Each begins at its
// first letter: looked for from every letter on, a long word would take the square of its length.
const PROSE = new RegExp([
  String.raw`(?<!\p{L})\p{L}{2,}[,.;:]?\s+\p{L}{3,}`, String.raw`(?<!\p{L})\p{L}{3,}[,.;:]?\s+\p{L}{2,}`,
  String.raw`[\p{L}\p{N})][,.]?\s+\p{L}{2,}\s+[\p{L}\p{N}(]`,
].join("|"), "u");
const NAMES =
  /\\[a-zA-Z]+\*?(?:\s*\{[\p{L}\p{N}\s,.()’'-]*\})?|\b(?:sin|cos|tan|log|ln|exp|lim|max|min|mod)\b/gu;

const isProse = (body) => /^\s+\p{L}{2,}\s+$/u.test(body) || PROSE.test(body.replace(NAMES, "="));

/** The formula that begins in a paragraph at a $ or a backslash: {written, body, isDisplay}; null where none does. */
export function formulaAt(text, at) {
  const two = text.slice(at, at + 2);
  if (Object.hasOwn(ENDINGS, two)) return markedFormula(text, at, two);
  return two[0] === "$" ? dollarFormula(text, at) : null;
}

function markedFormula(text, at, opening) {
  const end = text.slice(at + 2, at + 2 + MAX_DISPLAY).indexOf(ENDINGS[opening]);
  if (end < 0) return null;
  const written = text.slice(at, at + end + 4);
  const body = written.slice(2, -2);
  // "\[x\](address)" is a link that is not meant as one.
  if (opening === "\\[" && text[at + written.length] === "(") return null;
  if (body.trim() === "" || (opening === "$$" && isProse(body))) return null;
  return { written, body, isDisplay: opening !== "\\(" };
}

function dollarFormula(text, at) {
  if (/[\p{L}\p{N}$]/u.test(text[at - 1] ?? " ")) return null;
  const body = /^(?:[^$\\]|\\[^])*/.exec(text.slice(at + 1, at + MAX_INLINE))[0];
  const end = at + 1 + body.length;
  if (text[end] !== "$" || GOES_ON.test(text.slice(end + 1, end + 5))) return null;
  return isMathematics(body) ? { written: `$${body}$`, body, isDisplay: false } : null;
}

function isMathematics(body) {
  return /^[^\s`](?:[^`]*[^\s`])?$/.test(body) && !isProse(body);
}

/**
 * The formula that has the lines from `at` on for itself: {written, body, next, isClosed}, or null. While its end
 * has not come, and no empty line either, it may still be one: then it is not closed. Where the text is `complete`,
 * what has no end is none.
 */
export function formulaLines(lines, at, complete) {
  const opening = OPENS_LINE.exec(lines[at]);
  if (!opening) return null;
  const name = opening[1];
  const ending = name ? `\\end{${name}}` : ENDINGS[opening[0].trimStart()];
  const last = Math.min(lines.length, at + MAX_LINES);
  for (let line = at; line < last; line += 1) {
    // Below a last line end nothing stands yet.
    if (lines[line].trim() === "") return !complete && line === lines.length - 1 ? openFormula(lines, at) : null;
    const end = lines[line].indexOf(ending, line === at ? opening[0].length : 0);
    if (end < 0) continue;
    const after = lines[line].slice(end + ending.length);
    return AFTER.test(after) ? closedFormula(lines.slice(at, line + 1), { after, name, next: line + 1 }) : null;
  }
  return complete || last < lines.length ? null : openFormula(lines, at);
}

function openFormula(lines, at) {
  return { written: lines.slice(at).join("\n").trim(), body: "", next: lines.length, isClosed: false };
}

// The stop after a formula is set as a part of it, or it would stand alone on the next line.
function closedFormula(lines, { after, name, next }) {
  const written = lines.join("\n").trim();
  const inside = written.slice(0, written.length - after.trimEnd().length);
  const body = name ? inside : inside.slice(2, -2);
  return body.trim() ? { written, body: body + after.trim(), next, isClosed: true } : null;
}
