// Reads Markdown's blocks out of lines: headings, lists, quotes, tables, code, formulas, paragraphs. Gives plain
// objects with the line each begins on and makes no DOM. A dialect of CommonMark with GitHub's tables: no HTML, no
// reference links. The inside of paragraphs is read by inline.js when it is shown.

import { formulaLines } from "./formula_text.js";

const MAX_DEPTH = 16;
const FENCE = /^( {0,3})(`{3,}(?=[^`]*$)|~{3,})[ \t]*(.*)$/;
const HEADING = /^ {0,3}(#{1,6})(?:[ \t](.*)|)$/;
const RULE = /^ {0,3}(?:(?:\*[ \t]*){3,}|(?:-[ \t]*){3,}|(?:_[ \t]*){3,})$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( {0,3})([-+*]|(\d{1,9})([.)]))(?:( +)(.*)|)$/;
const UNDERLINE = /^ {0,3}(=+|-+)[ \t]*$/;
const TABLE_RULE = /^\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?$/;
const INDENT = /^[ \t]*(?:(?:[-+*]|\d{1,9}[.)]|>)[ \t]+)?/;
const INDENTED = /^ {4}/;

const isBlank = (line) => line.trim() === "";

/**
 * The blocks of these lines, each with `start`, the index of its first line. More lines may follow unless the text is
 * `complete`.
 */
export function parseBlocks(lines, complete, depth = 0) {
  const expanded = lines.map(expandIndent);
  const blocks = [];
  for (let at = 0; at < lines.length; ) {
    if (isBlank(lines[at])) {
      at += 1;
      continue;
    }
    const { block, next } = readBlock(expanded, at, { complete, depth, raw: lines });
    blocks.push({ ...block, start: at });
    at = next;
  }
  return blocks;
}

// Tabs before and after a line's mark as spaces: what the rules count. Code keeps the tabs that it has.
function expandIndent(line) {
  const indent = INDENT.exec(line)[0];
  if (!indent.includes("\t")) return line;
  let expanded = "";
  for (const character of indent) expanded += character === "\t" ? " ".repeat(4 - (expanded.length % 4)) : character;
  return expanded + line.slice(indent.length);
}

function readBlock(lines, at, { complete, depth, raw }) {
  const line = lines[at];
  if (INDENTED.test(line)) return readIndentedCode(lines, at);
  if (FENCE.test(line)) return readFence(lines, at, raw);
  if (HEADING.test(line)) return readHeading(line, at);
  if (RULE.test(line)) return { block: { type: "rule" }, next: at + 1 };
  const formula = formulaLines(lines, at, complete);
  if (formula) return { block: { type: "formula", ...formula, isDisplay: true }, next: formula.next };
  if (depth < MAX_DEPTH) {
    if (QUOTE.test(line)) return readQuote(lines, at, complete, depth);
    if (ITEM.test(line)) return readList(lines, at, complete, depth);
  }
  return isTable(lines, at) ? readTable(lines, at, complete) : readParagraph(lines, at, complete);
}

function readHeading(line, at) {
  const [, marks, rest] = HEADING.exec(line);
  const text = (rest ?? "").trim().replace(/(^|[ \t])#+$/, "").trimEnd();
  return { block: { type: "heading", level: marks.length, text }, next: at + 1 };
}

function readIndentedCode(lines, at) {
  let end = at;
  while (end < lines.length && (INDENTED.test(lines[end]) || isBlank(lines[end]))) end += 1;
  while (isBlank(lines[end - 1])) end -= 1;
  const text = lines.slice(at, end).map((line) => line.slice(4)).join("\n");
  return { block: { type: "code", language: "", text, closed: end < lines.length }, next: end };
}

function readFence(lines, at, raw) {
  const [, indent, fence, info] = FENCE.exec(lines[at]);
  let end = at + 1;
  while (end < lines.length && !closesFence(lines[end], fence)) end += 1;
  const unindent = new RegExp(`^ {0,${indent.length}}`);
  const text = raw.slice(at + 1, end).map((line) => line.replace(unindent, "")).join("\n");
  const language = (info.split(/\s/)[0] ?? "").toLowerCase();
  const closed = end < lines.length;
  return { block: { type: "code", language, text, closed }, next: closed ? end + 1 : end };
}

function closesFence(line, fence) {
  const found = /^ {0,3}(`{3,}|~{3,})[ \t]*$/.exec(line);
  return found !== null && found[1][0] === fence[0] && found[1].length >= fence.length;
}

// Whether a line begins a block even though a paragraph is open above it.
function interrupts(lines, at, complete) {
  const line = lines[at];
  if (FENCE.test(line) || HEADING.test(line) || RULE.test(line) || QUOTE.test(line)) return true;
  const item = ITEM.exec(line);
  if (item) return !isBlank(item[6] ?? "") && (item[3] === undefined || Number(item[3]) === 1);
  return isTable(lines, at) || formulaLines(lines, at, complete) !== null;
}

// Follows the lines inside a quote or a list item: whether the next one may go on lazily, without the mark.
class Container {
  constructor() {
    this.inside = [];
    this.fence = null;
    this.inParagraph = false;
  }

  add(line) {
    this.inside.push(line);
    const content = line.replace(/^(?: {0,3}(?:>|[-+*](?= |$)|\d{1,9}[.)](?= |$)) ?)+/, "");
    if (this.fence) {
      if (closesFence(content, this.fence)) this.fence = null;
      this.inParagraph = false;
      return;
    }
    const opening = FENCE.exec(content);
    this.fence = opening ? opening[2] : null;
    const ends = opening || isBlank(content) || HEADING.test(content) || RULE.test(content);
    const isCode = INDENTED.test(content) && !this.inParagraph;
    this.inParagraph = !ends && !isCode;
  }

  takesLazily(lines, at, complete) {
    return this.inParagraph && !isBlank(lines[at]) && !interrupts(lines, at, complete) && !ITEM.test(lines[at]);
  }
}

function readQuote(lines, at, complete, depth) {
  const container = new Container();
  let end = at;
  for (; end < lines.length; end += 1) {
    if (QUOTE.test(lines[end])) container.add(lines[end].replace(QUOTE, ""));
    else if (container.takesLazily(lines, end, complete)) container.add(lazy(lines[end]));
    else break;
  }
  const blocks = parseBlocks(container.inside, complete || hasEnded(lines, end), depth + 1);
  return { block: { type: "quote", blocks }, next: end };
}

// Whether what ends before this line can get no more lines; an empty last line may still become another one.
const hasEnded = (lines, end) => end < lines.length - (isBlank(lines.at(-1)) ? 1 : 0);

// A line that goes on lazily is text whatever it looks like: as an underline it must not make a heading.
const lazy = (line) => (UNDERLINE.test(line) ? line.trim().replace(/^[=-]/, "\\$&") : line.trimStart());

function readList(lines, at, complete, depth) {
  const first = ITEM.exec(lines[at]);
  const sign = first[4] ?? first[2];
  const items = [];
  let loose = false;
  let end = at;
  while (end < lines.length) {
    const found = RULE.test(lines[end]) ? null : ITEM.exec(lines[end]);
    if (!found || (found[4] ?? found[2]) !== sign) break;
    const item = readItem(lines, end, found, complete);
    const blocks = parseBlocks(item.inside, complete || hasEnded(lines, item.next), depth + 1);
    items.push(blocks);
    let after = item.next;
    while (after < lines.length && isBlank(lines[after])) after += 1;
    const goesOn = after < lines.length && continuesList(lines[after], sign);
    loose ||= blankBetween(item.inside, blocks) || (goesOn && after > item.next);
    end = goesOn ? after : item.next;
    if (!goesOn) break;
  }
  const start = first[3] === undefined ? null : Number(first[3]);
  return { block: { type: "list", first: start, items, loose }, next: end };
}

function continuesList(line, sign) {
  const found = RULE.test(line) ? null : ITEM.exec(line);
  return found !== null && (found[4] ?? found[2]) === sign;
}

function readItem(lines, at, [, indent, mark, , , spaces, rest], complete) {
  const padding = spaces === undefined || isBlank(rest) || spaces.length > 4 ? 1 : spaces.length;
  const width = indent.length + mark.length + padding;
  const inner = new RegExp(`^ {${width}}`);
  const container = new Container();
  container.add(lines[at].slice(width));
  let end = at + 1;
  for (; end < lines.length; end += 1) {
    const line = lines[end];
    // An item may begin with one empty line, not with two.
    if (isBlank(line) && end === at + 1 && isBlank(container.inside[0])) break;
    if (isBlank(line) || inner.test(line)) container.add(line.slice(width));
    else if (container.takesLazily(lines, end, complete)) container.add(lazy(line));
    else break;
  }
  while (end > at + 1 && isBlank(lines[end - 1])) {
    container.inside.pop();
    end -= 1;
  }
  return { inside: container.inside, next: end };
}

function blankBetween(inside, blocks) {
  return blocks.slice(1).some((block) => isBlank(inside[block.start - 1] ?? ""));
}

function isTable(lines, at) {
  const rule = lines[at + 1];
  if (rule === undefined || !lines[at].includes("|") || INDENTED.test(rule)) return false;
  // "---" alone is a heading's underline.
  if (!rule.includes("|") || !TABLE_RULE.test(rule.trim())) return false;
  return cells(lines[at]).length === cells(rule).length;
}

function cells(line) {
  const inside = line.trim().replace(/^\|/, "").replace(/(^|[^\\])\|$/, "$1");
  return inside.split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
}

function readTable(lines, at, complete) {
  const head = cells(lines[at]);
  const alignments = cells(lines[at + 1]).map((cell) => {
    if (cell.endsWith(":")) return cell.startsWith(":") ? "center" : "right";
    return cell.startsWith(":") ? "left" : null;
  });
  const rows = [];
  let end = at + 2;
  while (end < lines.length && !isBlank(lines[end]) && !beginsOther(lines, end, complete)) {
    const row = cells(lines[end]);
    rows.push(head.map((_, column) => row[column] ?? ""));
    end += 1;
  }
  return { block: { type: "table", head, alignments, rows }, next: end };
}

function beginsOther(lines, at, complete) {
  const line = lines[at];
  const isOther = [FENCE, HEADING, RULE, QUOTE, INDENTED, ITEM].some((pattern) => pattern.test(line));
  return isOther || formulaLines(lines, at, complete) !== null;
}

function readParagraph(lines, at, complete) {
  let end = at + 1;
  while (end < lines.length && !isBlank(lines[end])) {
    const underline = UNDERLINE.exec(lines[end]);
    if (underline) {
      const level = underline[1][0] === "=" ? 1 : 2;
      return { block: { type: "heading", level, text: joined(lines, at, end) }, next: end + 1 };
    }
    if (interrupts(lines, end, complete)) break;
    end += 1;
  }
  return { block: { type: "paragraph", text: joined(lines, at, end) }, next: end };
}

function joined(lines, from, to) {
  return lines.slice(from, to).map((line) => line.trimStart()).join("\n").trimEnd();
}
