// One conversation: a tree of messages, since editing and asking again add a branch and lose nothing. `leaf` is
// the last message of the branch that is shown. Plain data in, plain data out; keeping it is conversations.js's.

import { randomId } from "./dom.js";
import { sentText } from "./text_files.js";

const TITLE_CHARACTERS = 60;

/** An empty conversation with these settings. */
export function newConversation(settings) {
  const now = Date.now();
  return { id: randomId(), title: "", named: false, created: now, updated: now, settings, messages: [], leaf: null };
}

/** Adds {role, content, ...} after the message `parent` (null: at the beginning) and shows that branch. */
export function addMessage(conversation, parent, message) {
  const added = { ...message, id: randomId(), parent };
  conversation.messages.push(added);
  conversation.leaf = added.id;
  conversation.updated = Date.now();
  if (!conversation.named && message.role === "user" && parent === null) conversation.title = titleOf(message);
  return added;
}

function titleOf({ content, files }) {
  const line = (content.trim() || files?.[0]?.name || "").replace(/\s+/g, " ");
  return line.length > TITLE_CHARACTERS ? `${line.slice(0, TITLE_CHARACTERS - 1).trimEnd()}…` : line;
}

/** Whether anything of an answer has come. */
export const hasBegun = ({ content, thinking, calls }) => Boolean(content || thinking || calls?.length);

/** Takes a message away with all that follows it, and shows a version beside it, or else what was before. */
export function removeMessage(conversation, message) {
  const others = versions(conversation, message).filter(({ id }) => id !== message.id);
  const gone = new Set([message.id]);
  // A message always stands after the one that it follows.
  for (const { id, parent } of conversation.messages) if (gone.has(parent)) gone.add(id);
  conversation.messages = conversation.messages.filter(({ id }) => !gone.has(id));
  conversation.updated = Date.now();
  if (others.length) showVersion(conversation, others.at(-1));
  else conversation.leaf = message.parent;
}

/** The messages of the branch that is shown, first to last. */
export function shownMessages(conversation) {
  const byId = new Map(conversation.messages.map((message) => [message.id, message]));
  const shown = [];
  for (let message = byId.get(conversation.leaf); message; message = byId.get(message.parent)) shown.push(message);
  return shown.reverse();
}

/** The messages that stand at the same place as this one, itself among them, oldest first. */
export function versions(conversation, message) {
  return conversation.messages.filter(({ parent, role }) => parent === message.parent && role === message.role);
}

/** Shows the branch that goes through a message, to its newest end. */
export function showVersion(conversation, message) {
  let leaf = message.id;
  for (;;) {
    const next = conversation.messages.findLast(({ parent }) => parent === leaf);
    if (!next) break;
    leaf = next.id;
  }
  conversation.leaf = leaf;
}

/**
 * What the server is asked: the system prompt and these messages. Messages of the same side in a row, which stand
 * where an answer failed, become one: many chat templates refuse them apart.
 */
export function requestMessages(conversation, messages) {
  const system = conversation.settings.system?.trim();
  const request = system ? [{ role: "system", content: system }] : [];
  for (const message of messages) {
    const { role } = message;
    const content = sentText(message);
    const last = request.at(-1);
    if (last?.role === role) last.content += `\n\n${content}`;
    else if (content) request.push({ role, content });
  }
  return request;
}
