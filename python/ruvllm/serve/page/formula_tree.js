// The parts of a formula's tree that several modules make.

import { TABLES } from "./formula_symbols.js";

/** Things beside each other. */
export const row = (items) => ({ type: "row", items });

/** A sign between things; its role says how it is spaced: binary, open, close, bar, punctuation, plain. */
export const operator = (text, role) => ({ type: "operator", text, role });

/** Words. */
export const words = (text) => ({ type: "text", text, look: null });

/** A table of a kind that TABLES names; `columns` are letters (l, c, r), `bars` the columns with a line before. */
export function tableOf(name, rows, { columns = null, bars = [] } = {}) {
  const table = TABLES.get(name);
  return { type: "table", rows, table, columns: table.columns ?? columns ?? "", bars: new Set(bars) };
}
