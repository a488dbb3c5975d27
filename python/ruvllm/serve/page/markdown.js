// Shows Markdown as DOM nodes. `GrowingMarkdown` is for an answer that is being written: what can no longer
// change stays in place, and only the last block is read and drawn again, so a long answer stays quick.

import { parseBlocks } from "./blocks.js";
import { copyButton } from "./clipboard.js";
import { colouredPieces } from "./code_colours.js";
import { element } from "./dom.js";
import { formulaNode } from "./formula_view.js";
import { parseInline } from "./inline.js";

// The page's own headings come first, so an answer's begin at the third level.
const FIRST_HEADING = 3;
const MAX_COLOURED_CHARACTERS = 40_000;
// A longer formula in a line may be wider than a phone; it scrolls by itself then.
const LONG_FORMULA = 40;
const TASK = /^\[([ xX])\][ \t]+/;

/** The nodes of a whole text. */
export function renderMarkdown(text) {
  return parseBlocks(text.split("\n"), true).map(renderBlock);
}

/** A container whose text grows at its end. */
export class GrowingMarkdown {
  #container;
  #settledLength = 0;
  #settledText = "";
  #unsettledNodes = [];

  constructor(container) {
    this.#container = container;
  }

  /** Shows `text`, which goes on unless `complete`. Where what is settled has changed, all is drawn anew. */
  update(whole, complete) {
    const text = complete ? whole : withoutUnclearLine(whole);
    if (!text.startsWith(this.#settledText)) this.#reset();
    const lines = text.slice(this.#settledLength).split("\n");
    const blocks = parseBlocks(lines, complete);
    for (const node of this.#unsettledNodes) node.remove();
    const nodes = blocks.map(renderBlock);
    this.#container.append(...nodes);
    const settled = countSettled(blocks, lines.length);
    this.#unsettledNodes = nodes.slice(settled);
    if (settled === 0) return;
    const offset = lines.slice(0, blocks[settled].start).reduce((sum, line) => sum + line.length + 1, 0);
    this.#settledLength += offset;
    this.#settledText = text.slice(0, this.#settledLength);
  }

  #reset() {
    this.#container.replaceChildren();
    this.#settledLength = 0;
    this.#settledText = "";
    this.#unsettledNodes = [];
  }
}

// "-" below a paragraph is a heading's underline until the list item that it begins has come: it waits.
function withoutUnclearLine(text) {
  const lineStart = text.lastIndexOf("\n") + 1;
  return /^[ \t]*(?:-{1,2}|=+|\|)[ \t]*$/.test(text.slice(lineStart)) ? text.slice(0, lineStart) : text;
}

// A block is settled once another begins after it. A beginning on a line that is still being written does not
// count: "2" is a paragraph, and "2. b" the next item of the list above. Nor does a formula whose end may still
// turn out to be none: then its lines are the paragraph's above.
function countSettled(blocks, numLines) {
  const settled = blocks.length - 1;
  if (settled < 1) return 0;
  const { type, start, isClosed, next } = blocks[settled];
  const isUnclear = start === numLines - 1 || (type === "formula" && (!isClosed || next === numLines));
  return isUnclear ? settled - 1 : settled;
}

const RENDERERS = {
  paragraph: (block) => element("p", {}, ...inlineNodes(block.text)),
  heading: renderHeading,
  rule: () => element("hr"),
  quote: (block) => element("blockquote", {}, ...block.blocks.map(renderBlock)),
  list: renderList,
  table: renderTable,
  code: renderCode,
  formula: renderFormula,
};

function renderBlock(block) {
  return RENDERERS[block.type](block);
}

function renderHeading(block) {
  const level = Math.min(6, block.level + FIRST_HEADING - 1);
  return element(`h${level}`, { class: `level-${block.level}` }, ...inlineNodes(block.text));
}

function renderList(block) {
  const items = block.items.map((blocks) => renderItem(blocks, block.loose));
  if (block.first === null) return element("ul", {}, ...items);
  return element("ol", { start: block.first === 1 ? null : block.first }, ...items);
}

// An item that begins with [ ] or [x] is a task, open or done.
function renderItem(blocks, loose) {
  const [first, ...others] = blocks;
  const task = first?.type === "paragraph" ? TASK.exec(first.text) : null;
  if (!task) return element("li", {}, ...itemNodes(blocks, loose));
  const isDone = task[1] !== " ";
  const label = isDone ? "Done" : "To do";
  const box = element("input", { type: "checkbox", disabled: true, checked: isDone, "aria-label": label });
  const rest = { ...first, text: first.text.slice(task[0].length) };
  return element("li", { class: "task" }, box, ...itemNodes([rest, ...others], loose));
}

// The items of a tight list hold text without paragraphs.
function itemNodes(blocks, loose) {
  return blocks.flatMap((block) => {
    return block.type === "paragraph" && !loose ? inlineNodes(block.text) : [renderBlock(block)];
  });
}

function renderTable(block) {
  const row = (tag, cells) => {
    return element("tr", {}, ...cells.map((text, column) => {
      const alignment = block.alignments[column];
      const attributes = { class: alignment && `align-${alignment}`, scope: tag === "th" ? "col" : null };
      return element(tag, attributes, ...inlineNodes(text));
    }));
  };
  const head = element("thead", {}, row("th", block.head));
  const body = block.rows.length ? [element("tbody", {}, ...block.rows.map((cells) => row("td", cells)))] : [];
  // It scrolls sideways by itself, so the keyboard has to reach it.
  const attributes = { class: "table", role: "region", "aria-label": "Table", tabindex: "0" };
  return element("div", attributes, element("table", {}, head, ...body));
}

function renderCode(block) {
  const code = element("code");
  if (block.text.length > MAX_COLOURED_CHARACTERS) code.append(block.text);
  else code.append(...colouredPieces(block.text, block.language).map(renderPiece));
  const label = element("span", { class: "code-language" }, block.language || "text");
  const bar = element("div", { class: "code-bar" }, label, copyButton("Copy this code", () => block.text));
  return element("div", { class: "code" }, bar, element("pre", { tabindex: "0" }, code));
}

function renderPiece({ kind, text }) {
  return kind ? element("span", { class: `code-${kind}` }, text) : document.createTextNode(text);
}

// What is not understood, or has not ended, is shown as it was written.
function renderFormula(block) {
  const node = block.isClosed ? formulaNode(block) : null;
  if (!node) return element("p", { class: "formula-written" }, block.written);
  return element("div", { class: "formula-block" }, node);
}

function inlineNodes(text) {
  return parseInline(text).map(renderInline);
}

const INLINE_TAGS = { em: "em", strong: "strong", del: "del" };

function renderInline(node) {
  if (node.type === "text") return document.createTextNode(node.text);
  if (node.type === "code") return element("code", {}, node.text);
  if (node.type === "break") return element("br");
  if (node.type === "formula") return renderInlineFormula(node);
  const children = node.children.map(renderInline);
  if (node.type !== "link") return element(INLINE_TAGS[node.type], {}, ...children);
  // The title shows where the link really leads, whatever its text says.
  const attributes = { href: node.address, title: node.address, target: "_blank", rel: "noopener noreferrer nofollow" };
  return element("a", attributes, ...children);
}

function renderInlineFormula(formula) {
  const node = formulaNode(formula);
  if (!node) return document.createTextNode(formula.written);
  if (formula.isDisplay) return element("span", { class: "formula-block" }, node);
  return formula.body.length > LONG_FORMULA ? element("span", { class: "formula-long" }, node) : node;
}
