// One conversation: a tree of messages, since editing and asking again add a branch and lose nothing. `leaf` is
// the last message of the branch that is shown. Plain data in, plain data out; keeping it is conversations.js's.

import { randomId } from "./dom.js";

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
  if (!conversation.named && message.role === "user" && parent === null) conversation.title = titleOf(message.content);
  return added;
}

function titleOf(text) {
  const line = text.trim().replace(/\s+/g, " ");
  return line.length > TITLE_CHARACTERS ? `${line.slice(0, TITLE_CHARACTERS - 1).trimEnd()}…` : line;
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
  for (const { role, content } of messages) {
    const last = request.at(-1);
    if (last?.role === role) last.content += `\n\n${content}`;
    else if (content) request.push({ role, content });
  }
  return request;
}
