// Conversations as a JSON file, out and in. What comes in was made by somebody: it is taken apart field by
// field, and a file that is none of ours is refused with the reason.

import { checkedCalls } from "./calls.js";
import { randomId } from "./dom.js";
import { checkedSettings } from "./settings.js";
import { checkedFiles } from "./text_files.js";

const FORMAT = "ruvllm-conversations";
const VERSION = 1;

/** The text of a file with these conversations. */
export function archiveText(conversations) {
  return `${JSON.stringify({ format: FORMAT, version: VERSION, conversations }, null, 2)}\n`;
}

/** The conversations of such a file, with new names so that they replace none. Throws an Error that says why. */
export function readArchive(text) {
  let archive;
  try {
    archive = JSON.parse(text);
  } catch {
    throw new Error("The file is no JSON.");
  }
  if (archive?.format !== FORMAT) {
    throw new Error(`The file is not an export of this page (its format is not "${FORMAT}").`);
  }
  if (archive.version !== VERSION) {
    throw new Error(`The file has version ${archive.version}; this page reads version ${VERSION}.`);
  }
  if (!Array.isArray(archive.conversations)) throw new Error("The file has no list of conversations.");
  return archive.conversations.map(readConversation);
}

function readConversation(found, index) {
  const where = `Conversation ${index + 1} of the file`;
  if (!Array.isArray(found?.messages)) throw new Error(`${where} has no messages.`);
  const messages = found.messages.map((message) => readMessage(message, where));
  const ids = new Set();
  for (const { id, parent } of messages) {
    if (ids.has(id) || (parent !== null && !ids.has(parent))) {
      throw new Error(`${where}: its messages do not hang together.`);
    }
    ids.add(id);
  }
  return {
    id: randomId(),
    title: String(found.title ?? ""),
    named: found.named === true,
    created: dateOf(found.created),
    updated: dateOf(found.updated),
    settings: checkedSettings(found.settings),
    messages,
    leaf: ids.has(found.leaf) ? found.leaf : (messages.at(-1)?.id ?? null),
  };
}

const dateOf = (value) => (Number.isFinite(value) ? value : Date.now());

function readMessage(message, where) {
  const { id, parent, role, content } = message ?? {};
  const wellFormed = typeof id === "string" && (parent === null || typeof parent === "string");
  if (!wellFormed || !["user", "assistant"].includes(role) || typeof content !== "string") {
    throw new Error(`${where} has a message without id, role and content.`);
  }
  const read = { id, parent, role, content };
  if (typeof message.thinking === "string") read.thinking = message.thinking;
  const calls = checkedCalls(message.calls);
  if (calls) read.calls = calls;
  const files = checkedFiles(message.files);
  if (files) read.files = files;
  if (typeof message.finish === "string") read.finish = message.finish;
  if (typeof message.model === "string") read.model = message.model;
  for (const name of ["timings", "usage", "clock"]) if (isNumbers(message[name])) read[name] = message[name];
  return read;
}

const isNumbers = (value) => {
  return value !== null && typeof value === "object" && !Array.isArray(value) &&
    Object.values(value).every((each) => typeof each === "number" || isNumbers(each));
};
