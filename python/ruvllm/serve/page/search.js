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
      if (at >= 0) return around(text, at, sought.length);
    }
  }
  return null;
}

function around(text, at, length) {
  const from = Math.max(0, at - BEFORE);
  const to = Math.min(text.length, at + length + AFTER);
  const excerpt = text.slice(from, to).replace(/\s+/g, " ");
  return `${from ? "…" : ""}${excerpt}${to < text.length ? "…" : ""}`;
}
