// Asks for the server's key.

import { askForText } from "./dialogs.js";
import { element } from "./dom.js";
import { currentKey, isKeyRemembered, setKey } from "./key.js";

const UNKNOWN = "The server does not know this key. Look whether a character is missing, or ask whoever runs it.";

let asked = null;

/** Asks once, however many requests want the key; says whether the user gave one. */
export function askForKey() {
  return askOnce(null);
}

/** The same after the server refused a request for want of a key, or for the key that it had. */
export function askForAnotherKey() {
  return askOnce(currentKey() === null ? null : UNKNOWN);
}

function askOnce(problem) {
  asked ??= ask(problem).finally(() => {
    asked = null;
  });
  return asked;
}

async function ask(problem) {
  const remember = element("input", { type: "checkbox", id: "remember-key" });
  remember.checked = isKeyRemembered();
  const extra = element("p", { class: "check" }, remember,
    element("label", { for: "remember-key" }, "Remember it in this browser; otherwise it goes with this tab"));
  const note = "This server answers only those who have its key. It is sent to this server and nowhere else.";
  const options = { type: "password", value: currentKey() ?? "", confirm: "Use this key", extra, note, problem };
  const key = await askForText("The server’s key", "Key", options);
  if (key === null) return false;
  setKey(key, remember.checked);
  return key !== "";
}
