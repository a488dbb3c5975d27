// A field in the place of a message, to edit it.

import { textButton } from "./buttons.js";
import { element } from "./dom.js";

/**
 * The field; `onDone(text)` gets what was made of it. `sendsOnEnter` where the text is a message to send; else
 * Enter begins a new line, and Ctrl Enter is the way by keyboard.
 */
export function messageEditor(text, { label, confirm, sendsOnEnter, onDone, onCancel }) {
  const field = element("textarea", { "aria-label": label, rows: "3" });
  field.value = text;
  const done = () => {
    if (field.value.trim()) onDone(field.value);
  };
  field.addEventListener("keydown", (event) => {
    const isDone = sendsOnEnter ? !event.shiftKey : event.ctrlKey || event.metaKey;
    if (event.key === "Enter" && isDone && !event.isComposing) {
      event.preventDefault();
      done();
    } else if (event.key === "Escape") {
      event.stopPropagation();
      onCancel();
    }
  });
  const buttons = element("div", { class: "edit-buttons" },
    textButton("Cancel", onCancel), textButton(confirm, done, { kind: "primary" }));
  const focus = () => {
    field.focus();
    field.setSelectionRange(field.value.length, field.value.length);
  };
  return { node: element("div", { class: "editor" }, field, buttons), focus, text: () => field.value };
}
