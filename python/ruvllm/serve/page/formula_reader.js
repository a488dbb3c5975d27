// Reads LaTeX's mathematics into a tree of plain objects; makes no DOM. A formula is understood as a whole or not
// at all: whatever is not known here is a FormulaError, and then the formula is shown as it was written.

import { HANDS, inHand } from "./formula_alphabets.js";
import { COMMANDS } from "./formula_commands.js";
import {
  ARROWS, CLOSING, DELIMITERS, FUNCTIONS, INTEGRALS, LETTERS, LIMIT_FUNCTIONS, MARKS, OPENING, OPERATORS, SPACES, SUMS,
  UPRIGHT,
} from "./formula_symbols.js";
import { FormulaError, tokensOf } from "./formula_tokens.js";
import { operator, row, tableOf } from "./formula_tree.js";

const MAX_DEPTH = 60;
// What is not seen is copied all the same: so it may hold a few signs, and no message.
const MAX_HIDDEN = 20;
const SIZES = { big: 1.2, Big: 1.8, bigg: 2.4, Bigg: 3 };
const FRACTIONS = new Map(Object.entries({
  frac: {}, dfrac: { isLarge: true }, cfrac: { isLarge: true }, tfrac: { isLarge: false }, binom: { isBinomial: true },
  dbinom: { isBinomial: true, isLarge: true }, tbinom: { isBinomial: true, isLarge: false },
}));
const TEXTS = new Map(Object.entries({
  text: null, mbox: null, hbox: null, textrm: null, textnormal: null, textbf: "bold", textit: "italic",
  emph: "italic", texttt: "typewriter", textsf: "sans",
}));
const STYLES = new Map(Object.entries({ displaystyle: true, textstyle: false }));
const ESCAPED = /\\([%_&#${}, ])/g;
// Signs of the keyboard that are set otherwise than they are typed, and those that nothing is spaced around.
const TYPED = new Map([["-", "−"], ["*", "∗"]]);
const PLAIN = new Set([".", "/", "?", "@", '"']);
// Signs that Unicode has for what LaTeX has commands for.
const UPRIGHT_SIGNS = new Set(UPRIGHT.values());
const SUM_SIGNS = new Set(SUMS.values());
const INTEGRAL_SIGNS = new Set(INTEGRALS.values());
const ROW_GAP = /^\[-?\d*\.?\d+ ?(?:pt|em|ex|cm|mm)\]/;

/** The tree of a formula, a row. Throws a FormulaError where there is anything that it does not know. */
export function readFormula(source, isDisplay) {
  return readWithin(source, { isDisplay, numHidden: 0 });
}

// `whole` is what all parts of one formula share, those among its words too.
function readWithin(source, whole) {
  const rows = new Reader(source, whole).rows((token) => token === null);
  if (rows.some(({ cells }) => cells.length > 1)) throw new FormulaError("a & outside of a table");
  // Lines without a surrounding are what a display often holds: they stand below each other.
  return rows.length === 1 ? rows[0].cells[0] : row([tableOf("gathered", rows)]);
}

class Reader {
  #tokens;
  #depth = 0;
  #hand = null;
  #whole;

  constructor(source, whole) {
    this.#tokens = tokensOf(source);
    this.#whole = whole;
  }

  /** Rows of cells, up to a token that `ends` them: {cells, ruledAbove, ruledBelow} each. */
  rows(ends) {
    const rows = [];
    const endsCell = (token) => ends(token) || token?.sign === "&" || token?.command === "\\";
    for (;;) {
      const isRuled = this.#tokens.skipCommand("hline");
      if (ends(this.#tokens.peek())) {
        if (isRuled && rows.length) rows.at(-1).ruledBelow = true;
        return rows.length ? rows : [{ cells: [row([])] }];
      }
      const cells = [this.#row(endsCell)];
      while (this.#tokens.skipSign("&")) cells.push(this.#row(endsCell));
      rows.push({ cells, ruledAbove: isRuled, ruledBelow: false });
      if (this.#tokens.skipCommand("\\")) this.#tokens.takeRaw(ROW_GAP);
    }
  }

  #row(ends) {
    if ((this.#depth += 1) > MAX_DEPTH) throw new FormulaError("too deep");
    const items = [];
    for (let token = this.#tokens.peek(); !ends(token); token = this.#tokens.peek()) {
      if (token === null) throw new FormulaError("it ends too early");
      if (STYLES.has(token.command)) {
        this.#tokens.next();
        items.push({ type: "style", isLarge: STYLES.get(token.command), body: this.#row(ends) });
        break;
      }
      const item = this.#scripted(token);
      if (item) items.push(item);
    }
    this.#depth -= 1;
    return row(items);
  }

  // One thing, with what is set above and below at its right.
  #scripted(token) {
    const base = /^[\^_']$/.test(token.sign ?? "") ? row([]) : this.#atom();
    const found = { type: "scripts", base: base ?? row([]), sub: null, sup: null, limits: null };
    let primes = 0;
    for (;;) {
      const { sign = null, command = null } = this.#tokens.peek() ?? {};
      if (sign === "^" || sign === "_") this.#script(found, sign === "^" ? "sup" : "sub");
      else if (sign === "'" || command === "limits" || command === "nolimits") {
        this.#tokens.next();
        if (sign) primes += 1;
        else found.limits = command === "limits";
      } else break;
    }
    if (primes) found.sup = row([operator("′".repeat(primes), "plain"), ...(found.sup ? [found.sup] : [])]);
    return found.sub || found.sup ? found : base;
  }

  #script(found, side) {
    if (found[side]) throw new FormulaError("two things at one place");
    this.#tokens.next();
    found[side] = this.#argument();
  }

  #argument() {
    const token = this.#tokens.peek();
    if (token === null) throw new FormulaError("something is missing");
    // Without braces it is one sign: x^23 is x squared, and a 3.
    if (token.sign !== undefined && token.sign !== "{") return this.#sign(this.#tokens.next().sign);
    if ((this.#depth += 1) > MAX_DEPTH) throw new FormulaError("too deep");
    const found = this.#atom() ?? row([]);
    this.#depth -= 1;
    return found;
  }

  #optional() {
    if (!this.#tokens.skipSign("[")) return null;
    const found = this.#row((token) => token?.sign === "]");
    this.#tokens.next();
    return found;
  }

  #atom() {
    const { command, sign } = this.#tokens.next();
    if (command !== undefined) return this.#command(command);
    if (sign === "{") return this.#group();
    if (/\d/.test(sign)) return this.#number(sign + this.#tokens.takeRaw(/^\d*(?:\.\d+)*/));
    const isWord = this.#hand && /[A-Za-z]/.test(sign);
    return isWord ? this.#identifier(sign + this.#tokens.takeRaw(/^[A-Za-z]*/)) : this.#sign(sign);
  }

  #group() {
    const found = this.#row((token) => token?.sign === "}");
    this.#tokens.next();
    return found;
  }

  #inHand(text) {
    return this.#hand ? Array.from(text, (character) => inHand(character, this.#hand)).join("") : text;
  }

  #number(text) {
    return { type: "number", text: this.#inHand(text) };
  }

  #identifier(text, isUpright = false) {
    return { type: "identifier", text: this.#inHand(text), isUpright: isUpright || this.#hand !== null };
  }

  // A sign of the keyboard, or any other that Unicode has.
  #sign(sign) {
    if (/[{}&#$^_\\]/.test(sign)) throw new FormulaError(`a ${sign} in a wrong place`);
    if (sign === "~") return { type: "space", width: SPACES.get("~") };
    if (sign === "|") return operator("|", "bar");
    if (OPENING.has(sign)) return operator(sign, "open");
    if (CLOSING.has(sign)) return operator(sign, "close");
    if (PLAIN.has(sign)) return operator(sign, "plain");
    if (/[,;!]/.test(sign)) return operator(sign, "punctuation");
    if (UPRIGHT_SIGNS.has(sign)) return this.#identifier(sign, true);
    if (SUM_SIGNS.has(sign)) return { type: "large", text: sign, takesLimits: true };
    if (INTEGRAL_SIGNS.has(sign)) return { type: "large", text: sign, takesLimits: false };
    if (/\p{L}/u.test(sign)) return this.#identifier(sign);
    if (/\p{N}/u.test(sign)) return this.#number(sign);
    if (/[\p{S}\p{P}]/u.test(sign)) return operator(TYPED.get(sign) ?? sign, "binary");
    throw new FormulaError("a sign that is none of a formula");
  }

  #command(name) {
    const sign = signOf(name);
    if (sign) return sign.type === "identifier" ? this.#identifier(sign.text, sign.isUpright) : sign;
    if (FRACTIONS.has(name)) {
      return { type: "fraction", ...FRACTIONS.get(name), top: this.#argument(), bottom: this.#argument() };
    }
    if (MARKS.has(name)) return { type: "mark", mark: MARKS.get(name), body: this.#argument() };
    if (ARROWS.has(name)) return this.#arrow(ARROWS.get(name));
    if (HANDS.has(name)) return this.#handed(HANDS.get(name));
    if (TEXTS.has(name)) return this.#text(TEXTS.get(name));
    const sized = /^(big|Big|bigg|Bigg)([lrm]?)$/.exec(name);
    if (sized) return { type: "delimiter", text: this.#delimiter(), size: SIZES[sized[1]], side: sized[2] };
    if (name === "left") return this.#fenced();
    const read = COMMANDS.get(name);
    if (!read) throw new FormulaError(`\\${name} is not known`);
    return read(this.#parts, this.#tokens);
  }

  // What the commands with a way of their own need of this.
  #parts = {
    argument: () => this.#argument(),
    optional: () => this.#optional(),
    atom: () => (this.#tokens.peek() === null ? null : this.#atom()),
    rows: (ends) => this.rows(ends),
    hidden: (take) => this.#hidden(take),
    isDisplay: () => this.#whole.isDisplay,
  };

  // What `take` reads is not shown.
  #hidden(take) {
    const start = this.#tokens.at;
    const found = take();
    this.#whole.numHidden += this.#tokens.at - start;
    if (this.#whole.numHidden > MAX_HIDDEN) throw new FormulaError("too much that is not seen");
    return found;
  }

  #arrow(sign) {
    const below = this.#optional();
    return { type: "stack", base: { type: "arrow", text: sign }, above: this.#argument(), below };
  }

  #handed(hand) {
    const before = this.#hand;
    this.#hand = hand;
    const found = this.#argument();
    this.#hand = before;
    return found;
  }

  // Words, in which $...$ is a formula again.
  #text(look) {
    const parts = this.#tokens.takeGroup().split(/(?<!\\)\$/);
    if (parts.length % 2 === 0) throw new FormulaError("a $ without its other");
    return row(parts.map((part, index) => {
      if (index % 2) return readWithin(part, this.#whole);
      if (/[\\{}]/.test(part.replace(ESCAPED, ""))) throw new FormulaError("a command among words");
      return { type: "text", text: part.replace(ESCAPED, (_, sign) => (sign === "," ? " " : sign)), look };
    }));
  }

  #delimiter() {
    const token = this.#tokens.next();
    const found = DELIMITERS.get(token?.sign ?? `\\${token?.command}`);
    if (found === undefined) throw new FormulaError("that is no delimiter");
    return found;
  }

  #fenced() {
    const open = this.#delimiter();
    const parts = [];
    for (;;) {
      parts.push(this.#row((token) => token?.command === "right" || token?.command === "middle"));
      if (this.#tokens.next().command === "right") break;
      parts.push({ type: "middle", text: this.#delimiter() });
    }
    return { type: "fenced", open, close: this.#delimiter(), parts };
  }
}

// What a command stands for that is one sign or name; null where it is none.
function signOf(name) {
  if (LETTERS.has(name)) return { type: "identifier", text: LETTERS.get(name), isUpright: false };
  if (UPRIGHT.has(name)) return { type: "identifier", text: UPRIGHT.get(name), isUpright: true };
  if (OPERATORS.has(name)) return operator(OPERATORS.get(name), "binary");
  if (SUMS.has(name)) return { type: "large", text: SUMS.get(name), takesLimits: true };
  if (INTEGRALS.has(name)) return { type: "large", text: INTEGRALS.get(name), takesLimits: false };
  if (FUNCTIONS.has(name)) return { type: "function", text: name, takesLimits: false };
  if (LIMIT_FUNCTIONS.has(name)) return { type: "function", text: LIMIT_FUNCTIONS.get(name), takesLimits: true };
  if (SPACES.has(name)) return { type: "space", width: SPACES.get(name) };
  const delimiter = DELIMITERS.get(`\\${name}`);
  return delimiter === undefined ? null : operator(delimiter, roleOf(delimiter));
}

function roleOf(sign) {
  if (OPENING.has(sign)) return "open";
  return CLOSING.has(sign) ? "close" : "bar";
}
