// Light colouring of code: comments, strings, numbers and the words of a language. It reads no grammar; a
// language that is not in the table gets strings and numbers only. Gives pieces of text, makes no DOM.

const words = (text) => new Set(text.split(" "));

const C_LIKE =
  "if else for while do switch case default break continue return struct enum union typedef static const " +
  "extern sizeof goto inline void int long short char float double unsigned signed bool true false auto";
const OBJECTS =
  `${C_LIKE} class public private protected new this try catch throw finally import package interface ` +
  "extends implements abstract final super null namespace using template typename virtual override nullptr";

const KEYWORDS = {
  c: words(C_LIKE),
  java: words(OBJECTS),
  javascript: words(
    "if else for while do switch case default break continue return function const let var class extends new " +
      "this super try catch throw finally import export from async await yield of in typeof instanceof delete " +
      "null undefined true false void type interface enum implements readonly static get set",
  ),
  python: words(
    "if elif else for while break continue return def class import from as with try except finally raise pass " +
      "lambda yield async await in is not and or None True False global nonlocal del assert match case self",
  ),
  rust: words(
    "if else for while loop match break continue return fn let mut const static struct enum impl trait use mod " +
      "pub crate self Self super as in ref move async await where type dyn unsafe true false Some None Ok Err",
  ),
  go: words(
    "if else for switch case default break continue return func var const type struct interface map chan " +
      "package import go defer select range nil true false fallthrough",
  ),
  shell: words(
    "if then else elif fi for while until do done case esac in function return local export echo cd exit set sudo",
  ),
  sql: words(
    "select from where and or not in is null join left right inner outer full on group by order having limit " +
      "offset insert into values update set delete create table index primary key foreign references as distinct " +
      "union all case when then else end like between exists with asc desc",
  ),
  json: words("true false null"),
  plain: new Set(),
};

const ALIASES = {
  py: "python", python3: "python", js: "javascript", jsx: "javascript", ts: "javascript", tsx: "javascript",
  typescript: "javascript", rs: "rust", golang: "go", bash: "shell", sh: "shell", zsh: "shell", console: "shell",
  cpp: "java", "c++": "java", cs: "java", csharp: "java", kotlin: "java", swift: "java", h: "c", yaml: "plain",
};

const HASH_COMMENTS = new Set(["python", "shell"]);
const SLASH_COMMENTS = new Set(["c", "java", "javascript", "rust", "go"]);
const STRING = String.raw`"""[\s\S]*?(?:"""|$)|"(?:\\[^\n]|[^"\\\n])*"?|'(?:\\[^\n]|[^'\\\n])*'`;
const NUMBER = String.raw`\b(?:0[xX][\da-fA-F_]+|\d[\d_]*(?:\.\d+)?(?:[eE][-+]?\d+)?)\b`;

/** Pieces {kind, text} that joined give `code`; kind is "comment", "string", "number", "keyword" or null. */
export function colouredPieces(code, language) {
  const name = Object.hasOwn(ALIASES, language) ? ALIASES[language] : language;
  const known = Object.hasOwn(KEYWORDS, name) ? name : "plain";
  const pieces = [];
  let end = 0;
  for (const found of code.matchAll(pattern(known))) {
    const kind = kindOf(found, KEYWORDS[known], known === "sql");
    if (kind === null) continue;
    if (found.index > end) pieces.push({ kind: null, text: code.slice(end, found.index) });
    pieces.push({ kind, text: found[0] });
    end = found.index + found[0].length;
  }
  if (end < code.length) pieces.push({ kind: null, text: code.slice(end) });
  return pieces;
}

function pattern(language) {
  const comments = [];
  if (HASH_COMMENTS.has(language)) comments.push(String.raw`#[^\n]*`);
  if (SLASH_COMMENTS.has(language)) comments.push(String.raw`\/\/[^\n]*|\/\*[\s\S]*?(?:\*\/|$)`);
  if (language === "sql") comments.push(String.raw`--[^\n]*`);
  const comment = comments.length ? comments.join("|") : "(?!)";
  return new RegExp(`(?<comment>${comment})|(?<string>${STRING})|(?<number>${NUMBER})|(?<word>[A-Za-z_]\\w*)`, "g");
}

function kindOf({ groups }, keywords, ignoresCase) {
  if (groups.comment) return "comment";
  if (groups.string) return "string";
  if (groups.number) return "number";
  return keywords.has(ignoresCase ? groups.word.toLowerCase() : groups.word) ? "keyword" : null;
}
