// Shows a formula as MathML, which browsers set themselves and screen readers speak. What is written goes along
// with it, so that copying gives it back.

import { mathElement } from "./dom.js";
import { readFormula } from "./formula_reader.js";
import { FormulaError } from "./formula_tokens.js";

const CLOSED = new Set(["close", "bar"]);

/** The node of a formula {written, body, isDisplay}; null where there is anything in it that is not understood. */
export function formulaNode({ written, body, isDisplay }) {
  let tree;
  try {
    tree = readFormula(body, isDisplay);
  } catch (error) {
    if (error instanceof FormulaError) return null;
    throw error;
  }
  const attributes = { class: "formula", display: isDisplay ? "block" : "inline", "data-written": written };
  return mathElement("math", attributes, nodeOf(tree, isDisplay));
}

// `isLarge`: whether it stands in a display, where sums have their limits above and below.
function nodeOf(item, isLarge) {
  return VIEWS[item.type](item, isLarge);
}

const VIEWS = {
  row: ({ items }, isLarge) => grouped(rowNodes(items, isLarge)),
  identifier: ({ text, isUpright }) => {
    return mathElement("mi", { mathvariant: isUpright && Array.from(text).length === 1 ? "normal" : null }, text);
  },
  number: ({ text }) => mathElement("mn", {}, text),
  operator: ({ text, role }) => mathElement("mo", OPERATOR_ATTRIBUTES[role], text),
  function: ({ text }) => mathElement("mi", { mathvariant: text.length === 1 ? "normal" : null }, text),
  large: ({ text }) => mathElement("mo", {}, text),
  arrow: ({ text }) => mathElement("mo", { stretchy: "true", lspace: "0", rspace: "0", minsize: "1.5em" }, text),
  middle: ({ text }) => mathElement("mo", { stretchy: "true", lspace: "0.1667em", rspace: "0.1667em" }, text),
  // A space at the edge would be left out: only one that does not break stays.
  text: ({ text, look }) => mathElement("mtext", { class: look && `formula-${look}` }, text.replace(/\s+/g, "\u00a0")),
  space: ({ width }) => mathElement("mspace", { width: `${width}em` }),
  style: ({ isLarge, body }) => mathElement("mstyle", { displaystyle: String(isLarge) }, nodeOf(body, isLarge)),
  fraction: fractionNode,
  root: ({ index, body }) => {
    const inner = nodeOf(body, false);
    return index ? mathElement("mroot", {}, inner, nodeOf(index, false)) : mathElement("msqrt", {}, inner);
  },
  fenced: ({ open, close, parts }, isLarge) => {
    const inner = parts.map((part) => nodeOf(part, isLarge));
    return mathElement("mrow", {}, fence(open, "prefix"), ...inner, fence(close, "postfix"));
  },
  delimiter: ({ text, size, side }) => {
    const form = { l: "prefix", r: "postfix" }[side] ?? null;
    const spaces = form ? {} : { lspace: "0", rspace: "0" };
    const sizes = { minsize: `${size}em`, maxsize: `${size}em` };
    return mathElement("mo", { form, stretchy: "true", symmetric: "true", ...spaces, ...sizes }, text);
  },
  mark: ({ mark, body }, isLarge) => {
    if (mark.line) return mathElement("mrow", { class: mark.line }, nodeOf(body, isLarge));
    const sign = mathElement("mo", { stretchy: String(Boolean(mark.stretches)) }, mark.sign);
    const kind = mark.isBelow ? ["munder", { accentunder: "true" }] : ["mover", { accent: "true" }];
    return mathElement(...kind, nodeOf(body, false), sign);
  },
  stack: ({ base, above, below }, isLarge) => {
    const parts = [below, above].filter(Boolean).map((part) => nodeOf(part, false));
    const tag = above && below ? "munderover" : above ? "mover" : "munder";
    return mathElement(tag, {}, nodeOf(base, isLarge), ...parts);
  },
  scripts: scriptsNode,
  table: tableNode,
  boxed: ({ body }, isLarge) => mathElement("mrow", { class: "formula-boxed" }, nodeOf(body, isLarge)),
  cancelled: ({ body }, isLarge) => mathElement("mrow", { class: "formula-cancelled" }, nodeOf(body, isLarge)),
  phantom: ({ body }, isLarge) => mathElement("mphantom", {}, nodeOf(body, isLarge)),
};

// What a sign's role means for the space around it, where the browser's own table would have it otherwise.
const OPERATOR_ATTRIBUTES = {
  binary: { stretchy: "false" },
  prefix: { stretchy: "false", form: "prefix" },
  open: { stretchy: "false", form: "prefix" },
  close: { stretchy: "false", form: "postfix" },
  bar: { stretchy: "false", lspace: "0", rspace: "0" },
  plain: { lspace: "0", rspace: "0" },
  punctuation: {},
};

const grouped = (nodes) => (nodes.length === 1 ? nodes[0] : mathElement("mrow", {}, ...nodes));

const fence = (sign, form) => (sign ? mathElement("mo", { form, stretchy: "true", fence: "true" }, sign) : null);

// A plus or minus with nothing before it is a sign, and a function's name keeps off what follows.
function rowNodes(items, isLarge) {
  return items.flatMap((item, index) => {
    const before = items[index - 1];
    const isSign = item.type === "operator" && /^[+−±∓]$/.test(item.text) && (!before || leavesOpen(before));
    const node = nodeOf(isSign ? { ...item, role: "prefix" } : item, isLarge);
    const name = item.type === "scripts" ? item.base : item;
    const isName = name.type === "function" || (name.type === "row" && name.takesLimits);
    const keepsOff = isName && items[index + 1] && !isFence(items[index + 1]);
    return keepsOff ? [node, mathElement("mspace", { width: "0.1667em" })] : [node];
  });
}

const leavesOpen = ({ type, role }) => type === "operator" && !CLOSED.has(role);

const isFence = ({ type, role }) => ["fenced", "delimiter", "space"].includes(type) || role === "open";

function fractionNode({ top, bottom, isLarge: isSet, isBinomial }) {
  const line = isBinomial ? { linethickness: "0" } : {};
  const fraction = mathElement("mfrac", line, nodeOf(top, false), nodeOf(bottom, false));
  const whole = isBinomial ? mathElement("mrow", {}, fence("(", "prefix"), fraction, fence(")", "postfix")) : fraction;
  return isSet === undefined ? whole : mathElement("mstyle", { displaystyle: String(isSet) }, whole);
}

function scriptsNode({ base, sub, sup, limits }, isLarge) {
  const takesLimits = base.takesLimits ?? (base.mark?.takesLimits && "always");
  const isAround = limits ?? (takesLimits === "always" || (takesLimits && isLarge));
  // A sign grows in a row only, not where it is a base by itself.
  const inner = base.type === "delimiter" ? mathElement("mrow", {}, nodeOf(base, isLarge)) : nodeOf(base, isLarge);
  // Where it is told, they stand around it also in a line.
  if (isAround && base.type === "large") inner.setAttribute("movablelimits", "false");
  const parts = [sub, sup].filter(Boolean).map((part) => nodeOf(part, false));
  const tags = isAround ? ["munder", "mover", "munderover"] : ["msub", "msup", "msubsup"];
  return mathElement(tags[sub && sup ? 2 : sub ? 0 : 1], {}, inner, ...parts);
}

function tableNode({ rows, table, columns, bars }) {
  const isCellLarge = Boolean(table.isLarge);
  const lines = rows.map(({ cells, ruledAbove, ruledBelow }) => {
    const rules = [ruledAbove && "formula-ruled-above", ruledBelow && "formula-ruled-below"];
    return mathElement("mtr", {}, ...cells.map((cell, column) => {
      const places = { l: "formula-left", r: "formula-right" };
      const side = places[columns[table.isAligned ? column % columns.length : column]];
      const names = [side, bars.has(column) && "formula-barred", ...rules].filter(Boolean).join(" ");
      return mathElement("mtd", { class: names || null }, nodeOf(cell, isCellLarge));
    }));
  });
  const attributes = { class: table.isAligned ? "formula-aligned" : null, displaystyle: String(isCellLarge) };
  const node = mathElement("mtable", attributes, ...lines);
  const whole = table.isSmall ? mathElement("mstyle", { scriptlevel: "1" }, node) : node;
  if (!table.fences) return whole;
  const [open, close] = table.fences;
  return mathElement("mrow", {}, fence(open, "prefix"), whole, fence(close, "postfix"));
}
