// Finds words in conversations: in their titles, in what was said, and in the files that came along.

// The list is narrow: what is sought has to stand near the beginning.
const BEFORE = 12;
const AFTER = 60;

/** What is around a text in a conversation, "" where it stands in the title; null where it is nowhere. */
export function excerptOf(conversation, wanted) {
  const sought = wanted.toLowerCase();
  if (conversation.title.toLowerCase().includes(sought)) return "";
  for (const { content, files = [] } of conversation.messages) {
    for (const text of [content, ...files.map((file) => file.text)]) {
      const at = text.toLowerCase().indexOf(sought);
      if (at >= 0) return around(text, placeIn(text, at), placeIn(text, at + sought.length));
    }
  }
  return null;
}

// Where in a text a place of its lower-case form is: one letter, as the Turkish İ, may become two signs.
function placeIn(text, lowered) {
  if (text.toLowerCase().length === text.length) return lowered;
  let [at, passed] = [0, 0];
  for (const character of text) {
    if (passed >= lowered) break;
    passed += character.toLowerCase().length;
    at += character.length;
  }
  return at;
}

function around(text, start, end) {
  const from = Math.max(0, start - BEFORE);
  const to = Math.min(text.length, end + AFTER);
  const excerpt = text.slice(from, to).replace(/\s+/g, " ");
  return `${from ? "…" : ""}${excerpt}${to < text.length ? "…" : ""}`;
}
