// Takes LaTeX apart: commands and single signs, and where wanted a piece of the text as it stands.

/** What is wrong with a formula, or not known of it here. */
export class FormulaError extends Error {}

const MAX_CHARACTERS = 4000;
const SPACE = /\s*/y;
const COMMAND = /\\(?:[a-zA-Z]+|[\s\S])/uy;

/** The tokens of a formula, first to last: {command} or {sign}. Spaces between them are nothing. */
export function tokensOf(source) {
  if (source.length > MAX_CHARACTERS) throw new FormulaError("too long");
  return new Tokens(source);
}

class Tokens {
  #source;
  #at = 0;

  constructor(source) {
    this.#source = source;
  }

  /** Where the next one begins, or the space before it. */
  get at() {
    return this.#at;
  }

  /** The next one, which stays; null at the end. */
  peek() {
    const at = this.#at;
    const token = this.next();
    this.#at = at;
    return token;
  }

  /** Takes the next one. */
  next() {
    SPACE.lastIndex = this.#at;
    SPACE.exec(this.#source);
    this.#at = SPACE.lastIndex;
    if (this.#at >= this.#source.length) return null;
    COMMAND.lastIndex = this.#at;
    const command = COMMAND.exec(this.#source);
    if (command) {
      this.#at = COMMAND.lastIndex;
      // A backslash at a line's end is a space, as before one.
      return { command: command[0].slice(1).replace(/^\s$/, " ") };
    }
    const sign = String.fromCodePoint(this.#source.codePointAt(this.#at));
    this.#at += sign.length;
    return { sign };
  }

  /** Takes a sign if it is the next; says whether it was. */
  skipSign(sign) {
    const found = this.peek()?.sign === sign;
    if (found) this.next();
    return found;
  }

  /** The same for a command. */
  skipCommand(name) {
    const found = this.peek()?.command === name;
    if (found) this.next();
    return found;
  }

  /** Takes what of the text matches right here, spaces and all; `pattern` begins with ^. */
  takeRaw(pattern) {
    const found = pattern.exec(this.#source.slice(this.#at, this.#at + 200))?.[0] ?? "";
    this.#at += found.length;
    return found;
  }

  /** Takes a group in braces as it is written, without these. */
  takeGroup() {
    if (!this.skipSign("{")) throw new FormulaError("a group is missing");
    const start = this.#at;
    for (let depth = 1; this.#at < this.#source.length; this.#at += 1) {
      const sign = this.#source[this.#at];
      if (sign === "\\") this.#at += 1;
      else if (sign === "{") depth += 1;
      else if (sign === "}" && (depth -= 1) === 0) {
        this.#at += 1;
        return this.#source.slice(start, this.#at - 1);
      }
    }
    throw new FormulaError("a group has no end");
  }
}
