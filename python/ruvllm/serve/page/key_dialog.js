// Asks for the server's key.

import { askForText } from "./dialogs.js";
import { element } from "./dom.js";
import { currentKey, isKeyRemembered, setKey } from "./key.js";

let asked = null;

/** Asks once, however many requests want the key; says whether the user gave one. */
export function askForKey() {
  asked ??= ask().finally(() => {
    asked = null;
  });
  return asked;
}

async function ask() {
  const remember = element("input", { type: "checkbox", id: "remember-key" });
  remember.checked = isKeyRemembered();
  const extra = element("p", { class: "check" }, remember,
    element("label", { for: "remember-key" }, "Remember it in this browser; otherwise it goes with this tab"));
  const note = "This server answers only those who have its key. It is sent to this server and nowhere else.";
  const options = { type: "password", value: currentKey() ?? "", confirm: "Use this key", extra, note };
  const key = await askForText("The server’s key", "Key", options);
  if (key === null) return false;
  setKey(key, remember.checked);
  return key !== "";
}
