// The keys that work everywhere on the page, and the dialog that lists them all.

import { openDialog } from "./dialogs.js";
import { element } from "./dom.js";

const LIST = [
  [["Enter"], "Send the message"],
  [["Shift", "Enter"], "Begin a new line"],
  [["Esc"], "Stop the answer, or close what is open"],
  [["Ctrl", "K"], "New conversation (⌘ K on a Mac)"],
  [["Ctrl", "B"], "Show or hide the conversations"],
  [["/"], "Go to the message field"],
  [["↑"], "In the empty field: edit your last message"],
  [["Ctrl", "Enter"], "In an answer that you edit: keep it"],
  [["?"], "This list"],
];

/** Opens the list of keys. */
export function openShortcuts() {
  const rows = LIST.map(([keys, what]) => {
    const marks = keys.flatMap((key, index) => [index ? " " : "", element("kbd", {}, key)]);
    return element("div", { class: "shortcut" }, element("dt", {}, ...marks), element("dd", {}, what));
  });
  openDialog("Keys", [element("dl", { class: "shortcuts" }, ...rows)]);
}

/** Listens for the keys. `actions`: newConversation, toggleSidebar, focusMessage, escape. */
export function listenForShortcuts(actions) {
  document.addEventListener("keydown", (event) => {
    if (document.querySelector("dialog[open]")) return;
    const action = actionFor(event, actions);
    if (!action) return;
    event.preventDefault();
    action();
  });
}

function actionFor(event, actions) {
  const letter = event.key.toLowerCase();
  if ((event.ctrlKey || event.metaKey) && !event.altKey && !event.shiftKey) {
    return { k: actions.newConversation, b: actions.toggleSidebar }[letter];
  }
  if (event.key === "Escape") return actions.escape;
  const isTyping = event.target.closest("input, textarea, select") !== null;
  if (isTyping || event.ctrlKey || event.metaKey || event.altKey) return undefined;
  return { "/": actions.focusMessage, "?": openShortcuts }[event.key];
}
