// A conversation as Markdown, to read and to keep elsewhere. What the page would bring back whole is archive.js's.

import { shownMessages } from "./conversation.js";
import { fenceAround, sentText } from "./text_files.js";
import { partThinking } from "./thinking.js";

/** The messages that are shown, first to last, under headings that say whose they are. */
export function conversationMarkdown(conversation) {
  const system = conversation.settings.system?.trim();
  const parts = [`# ${conversation.title || "Conversation"}`];
  if (system) parts.push("## System prompt", system);
  for (const message of shownMessages(conversation)) parts.push(...messageParts(message));
  return `${parts.join("\n\n")}\n`;
}

function messageParts(message) {
  if (message.role === "user") return ["## You", sentText(message)];
  const { thinking, said } = partThinking(message);
  const parts = [`## ${message.model ?? "Answer"}`];
  if (thinking) parts.push(thinking.replace(/^/gm, "> "));
  if (said.trim()) parts.push(said.trim());
  for (const call of message.calls ?? []) {
    const fence = fenceAround(call.arguments);
    parts.push(`Called ${call.name}:\n${fence}json\n${call.arguments}\n${fence}`);
  }
  return parts;
}
