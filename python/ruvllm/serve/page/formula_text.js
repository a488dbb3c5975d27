// Where formulas are in a text: between $ and $, $$ and $$, \( and \), \[ and \]. A dollar is often money, so what
// stands between single ones has to look like a formula.

const MAX_INLINE = 1000;
const MAX_DISPLAY = 4000;
const MAX_LINES = 200;
const OPENS_LINE = /^ {0,3}(\$\$|\\\[)/;
const ENDINGS = { "$$": "$$", "\\[": "\\]", "\\(": "\\)" };
// After a formula's end only a stop or a comma may stand, where it has its lines for itself.
const AFTER = /^[ \t]*[.,;:]?[ \t]*$/;
// "$n$th" is a formula; "$5-$6" and "$HOME:$PATH" are none.
const GOES_ON = /^(?!(?:th|st|nd|rd|s)(?![\p{L}\p{N}]))[\p{L}\p{N}$]/u;
// Words beside each other, or one between two things that nothing connects: "$5, but he has 6$".
const PROSE = new RegExp([
  String.raw`\p{L}{2,}[,.;:]?\s+\p{L}{3,}`, String.raw`\p{L}{3,}[,.;:]?\s+\p{L}{2,}`,
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
 * has not come, and no empty line either, it may still be one: then it is not closed.
 */
export function formulaLines(lines, at) {
  const opening = OPENS_LINE.exec(lines[at])?.[1];
  if (!opening) return null;
  const last = Math.min(lines.length, at + MAX_LINES);
  for (let line = at; line < last; line += 1) {
    // Below a last line end nothing stands yet.
    if (lines[line].trim() === "") return line === lines.length - 1 ? openFormula(lines, at) : null;
    const from = line === at ? lines[at].indexOf(opening) + 2 : 0;
    const end = lines[line].indexOf(ENDINGS[opening], from);
    if (end >= 0) return closedFormula(lines, at, line, end);
  }
  return last < lines.length ? null : openFormula(lines, at);
}

function openFormula(lines, at) {
  return { written: lines.slice(at).join("\n").trim(), body: "", next: lines.length, isClosed: false };
}

function closedFormula(lines, at, line, end) {
  const after = lines[line].slice(end + 2);
  if (!AFTER.test(after)) return null;
  const written = lines.slice(at, line + 1).join("\n").trim();
  // The stop after a formula is set as a part of it, or it would stand alone on the next line.
  const inside = written.slice(2, written.length - after.trimEnd().length - 2);
  return inside.trim() ? { written, body: inside + after.trim(), next: line + 1, isClosed: true } : null;
}
