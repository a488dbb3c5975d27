// Dialogs that are made when they are asked for and gone when they close. The browser's own <dialog> holds the
// focus inside, closes on Escape and gives the focus back.

import { iconButton, textButton } from "./buttons.js";
import { element, randomId } from "./dom.js";

/** Opens a dialog with a heading and `children`; `onclose` is called once it is closed, however that happened. */
export function openDialog(title, children, { kind = "", onclose = () => undefined } = {}) {
  const headingId = `dialog-${randomId()}`;
  const dialog = element("dialog", { class: `dialog ${kind}`, "aria-labelledby": headingId });
  const close = iconButton("close", "Close", () => dialog.close());
  dialog.append(element("div", { class: "dialog-head" }, element("h2", { id: headingId }, title), close), ...children);
  dialog.addEventListener("close", () => {
    dialog.remove();
    giveFocusAnew();
    onclose();
  });
  // A click beside the box closes it.
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

// Chromium gives the focus back while the rest of the page still counts as inert: a field then has the focus and
// gets the keys, but has no place for what is typed. Given once more, it has.
function giveFocusAnew() {
  const focused = document.activeElement;
  if (!focused || focused === document.body) return;
  focused.blur();
  focused.focus();
}

/** Asks for a line of text; gives it, or null where the user does not want. `options` may hold any of these. */
export function askForText(title, label, options) {
  const { value = "", confirm = "Save", type = "text", extra = null, note = null, problem = null } = options;
  return new Promise((resolve) => {
    let answer = null;
    const id = `field-${randomId()}`;
    const field = element("input", { id, type, autocomplete: "off", spellcheck: "false" });
    field.value = value;
    const below = problem && element("p", { id: `${id}-problem`, class: "hint problem", role: "alert" }, problem);
    if (below) {
      field.setAttribute("aria-invalid", "true");
      field.setAttribute("aria-describedby", below.id);
    }
    const form = element("form", { class: "dialog-form" },
      note && element("p", {}, note), element("label", { for: id }, label), field, below, extra,
      element("div", { class: "dialog-buttons" }, textButton("Cancel", () => dialog.close()),
        element("button", { type: "submit", class: "text-button primary" }, confirm)));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      answer = field.value.trim();
      dialog.close();
    });
    const dialog = openDialog(title, [form], { onclose: () => resolve(answer) });
    field.focus();
    field.select();
  });
}

/** Asks whether to do something that cannot be undone. */
export function askWhether(title, text, confirm) {
  return new Promise((resolve) => {
    let answer = false;
    const yes = textButton(confirm, () => {
      answer = true;
      dialog.close();
    }, { kind: "danger" });
    const buttons = element("div", { class: "dialog-buttons" }, textButton("Cancel", () => dialog.close()), yes);
    const dialog = openDialog(title, [element("p", {}, text), buttons], { onclose: () => resolve(answer) });
    yes.focus();
  });
}

/** Tells something that went wrong outside of a conversation. */
export function tell(title, text) {
  const dialog = openDialog(title, [element("p", { class: "told" }, text)]);
  const close = textButton("Close", () => dialog.close(), { kind: "primary" });
  dialog.append(element("div", { class: "dialog-buttons" }, close));
}
