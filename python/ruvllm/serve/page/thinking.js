// Parts what a model thinks from what it says, whether the server did so already or the text holds marks.

const MARKED = /^\s*<think>([\s\S]*?)(?:<\/think>|$)/;

/** {thinking, said} of an answer. */
export function partThinking({ content, thinking = "" }) {
  const found = thinking ? null : MARKED.exec(content);
  if (!found) return { thinking: thinking.trim(), said: content };
  return { thinking: found[1].trim(), said: content.slice(found[0].length).trimStart() };
}
