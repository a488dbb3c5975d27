// Which stars, underscores and tildes of a run of text are marks: CommonMark's delimiter rules.
//
// Works on a flat list of tokens and writes into each delimiter which tags it closes, how many of its
// characters stay text, and which tags it opens. Linear but for a search that remembers where it found nothing.

const PUNCTUATION = /[\p{P}\p{S}]/u;
const SPACE = /\s/u;

/** The token for a run of `count` equal marks between two characters ("" at an edge). */
export function delimiter(mark, count, before, after) {
  const spaceBefore = before === "" || SPACE.test(before);
  const spaceAfter = after === "" || SPACE.test(after);
  const signBefore = PUNCTUATION.test(before);
  const signAfter = PUNCTUATION.test(after);
  const leftFlanking = !spaceAfter && (!signAfter || spaceBefore || signBefore);
  const rightFlanking = !spaceBefore && (!signBefore || spaceAfter || signAfter);
  const inWord = mark === "_" && leftFlanking && rightFlanking;
  return {
    type: "delimiter",
    mark,
    left: count,
    original: count,
    canOpen: leftFlanking && (!inWord || signBefore),
    canClose: rightFlanking && (!inWord || signAfter),
    closes: [],
    opens: [],
  };
}

/** Pairs the delimiters among `tokens`, as CommonMark does it. */
export function pairDelimiters(tokens) {
  const openers = [];
  const hopeless = new Map();
  const delimiters = tokens.filter((token) => token.type === "delimiter");
  delimiters.forEach((closer, position) => {
    closer.position = position;
    while (closer.canClose && closer.left > 0) {
      const kind = `${closer.mark}${closer.canOpen}${closer.original % 3}`;
      const found = findOpener(openers, closer, hopeless.get(kind) ?? -1);
      if (found < 0) {
        hopeless.set(kind, position - 1);
        break;
      }
      pair(openers, found, closer);
    }
    if (closer.canOpen && closer.left > 0) openers.push(closer);
  });
}

function findOpener(openers, closer, bottom) {
  for (let index = openers.length - 1; index >= 0 && openers[index].position > bottom; index -= 1) {
    if (fits(openers[index], closer)) return index;
  }
  return -1;
}

function fits(opener, closer) {
  if (opener.mark !== closer.mark) return false;
  if (opener.mark === "~") return opener.left === 2 && closer.left === 2;
  const both = (opener.canClose || closer.canOpen) && (opener.original + closer.original) % 3 === 0;
  return !both || (opener.original % 3 === 0 && closer.original % 3 === 0);
}

function pair(openers, found, closer) {
  const opener = openers[found];
  const used = opener.left >= 2 && closer.left >= 2 ? 2 : 1;
  const tag = opener.mark === "~" ? "del" : used === 2 ? "strong" : "em";
  opener.opens.unshift(tag);
  closer.closes.push(tag);
  opener.left -= used;
  closer.left -= used;
  openers.length = opener.left > 0 ? found + 1 : found;
}
