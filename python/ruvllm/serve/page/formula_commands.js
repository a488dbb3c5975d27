// The commands of LaTeX's mathematics that have a way of their own to be read. Each takes its arguments and gives
// the part of the tree that it stands for; null where it stands for nothing.

import { TABLES } from "./formula_symbols.js";
import { FormulaError } from "./formula_tokens.js";
import { operator, row, tableOf, words } from "./formula_tree.js";

const MAX_SPACE_EMS = 10;
const KINDS = ["mathrel", "mathbin", "mathord", "mathopen", "mathclose", "mathpunct", "mathinner"];

/** By name: (parts, tokens) => an item; `parts` are the reader's own ways to read. */
export const COMMANDS = new Map(Object.entries({
  sqrt: ({ optional, argument }) => ({ type: "root", index: optional(), body: argument() }),
  begin: readTable,
  substack: readSubstack,
  boxed: ({ argument }) => ({ type: "boxed", body: argument() }),
  cancel: ({ argument }) => ({ type: "cancelled", body: argument() }),
  phantom: ({ argument, hidden }) => ({ type: "phantom", body: hidden(argument) }),
  hspace: readSpace,
  // What kind of sign it is to count as; only that of a large one changes where its limits stand.
  mathop: ({ argument }) => ({ ...row([argument()]), takesLimits: true }),
  ...Object.fromEntries(KINDS.map((name) => [name, ({ argument }) => argument()])),
  overset: ({ argument }) => ({ type: "stack", above: argument(), base: argument(), below: null }),
  stackrel: ({ argument }) => ({ type: "stack", above: argument(), base: argument(), below: null }),
  underset: ({ argument }) => ({ type: "stack", below: argument(), base: argument(), above: null }),
  not: readNot,
  operatorname: readName,
  bmod: () => row([{ type: "space", width: 0.2222 }, words("mod"), { type: "space", width: 0.2222 }]),
  mod: ({ argument }) => row([{ type: "space", width: 1 }, words("mod "), argument()]),
  pmod: ({ argument }) => row([{ type: "space", width: 1 }, words("(mod "), argument(), words(")")]),
  tag: readTag,
  label: readLabel,
  nonumber: () => null,
  notag: () => null,
}));

// A label's name is not seen. Formulas in a line have none: there is no number to refer to.
function readLabel({ isDisplay, hidden }, tokens) {
  if (!isDisplay()) throw new FormulaError("a label in a line");
  hidden(() => tokens.takeGroup());
  return null;
}

function readTable({ rows }, tokens) {
  const name = tokens.takeGroup();
  const table = TABLES.get(name);
  if (!table) throw new FormulaError(`the surrounding ${name} is not known`);
  if (table.takesCount && !/^\d{1,2}$/.test(tokens.takeGroup())) throw new FormulaError("that is no number");
  const written = table.takesColumns ? tokens.takeGroup().replaceAll(" ", "") : "";
  if (!/^[lcr|]*$/.test(written)) throw new FormulaError("columns that are not known");
  const found = rows((token) => token?.command === "end");
  tokens.next();
  if (tokens.takeGroup() !== name) throw new FormulaError(`${name} has no end`);
  // A bar stands before the column that so many letters are left of.
  const bars = Array.from(written.matchAll(/\|/g), ({ index }) => written.slice(0, index).replaceAll("|", "").length);
  return tableOf(name, found, { columns: written.replaceAll("|", ""), bars });
}

function readSubstack({ rows }, tokens) {
  if (!tokens.skipSign("{")) throw new FormulaError("something is missing");
  const found = rows((token) => token?.sign === "}");
  tokens.next();
  return tableOf("subarray", found);
}

function readNot({ atom }, tokens) {
  if (tokens.peek()?.command === "not") throw new FormulaError("not of not");
  const item = atom();
  if (!["operator", "identifier"].includes(item?.type)) throw new FormulaError("not of nothing");
  return { ...item, text: `${item.text}\u0338`.normalize("NFC") };
}

function readName(_, tokens) {
  const takesLimits = tokens.skipSign("*");
  const text = tokens.takeGroup().replaceAll("\\,", "\u2009");
  if (!/^[\p{L}\p{N}\p{Zs}-]+$/u.test(text)) throw new FormulaError("that is no name");
  return { type: "function", text, takesLimits };
}

function readSpace(_, tokens) {
  tokens.skipSign("*");
  const found = /^ *(\d*\.?\d+) *(em|ex|pt|mu)$/.exec(tokens.takeGroup());
  if (!found) throw new FormulaError("a width that is not known");
  const width = Number(found[1]) * { em: 1, ex: 0.43, pt: 0.1, mu: 1 / 18 }[found[2]];
  return { type: "space", width: Math.min(width, MAX_SPACE_EMS) };
}

function readTag(_, tokens) {
  const [before, after] = tokens.skipSign("*") ? ["", ""] : ["(", ")"];
  const text = tokens.takeGroup();
  if (/[\\{}$]/.test(text)) throw new FormulaError("a command among words");
  return row([{ type: "space", width: 2 }, words(before + text + after)]);
}
