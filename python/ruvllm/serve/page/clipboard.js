// Puts text on the clipboard, also where the page came over plain HTTP and `navigator.clipboard` is missing.

import { announce } from "./announce.js";
import { iconButton } from "./buttons.js";
import { element } from "./dom.js";
import { icon } from "./icons.js";

const CONFIRMATION_MS = 1500;

async function copy(text) {
  if (navigator.clipboard) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      // Permission can be refused; the older way asks for none.
    }
  }
  const focused = document.activeElement;
  const area = element("textarea", { class: "visually-hidden", "aria-hidden": "true", tabindex: "-1" });
  area.value = text;
  // Inside an open dialog nothing outside of it can be selected.
  (focused?.closest("dialog") ?? document.body).append(area);
  area.select();
  const copied = document.execCommand("copy");
  area.remove();
  focused?.focus();
  return copied;
}

/** A button that copies what `read()` returns and shows for a moment whether that worked. */
export function copyButton(label, read) {
  const button = iconButton("copy", label, async () => {
    const copied = await copy(read());
    button.replaceChildren(icon(copied ? "check" : "warning"));
    announce(copied ? "Copied." : "The browser did not allow copying.");
    setTimeout(() => button.replaceChildren(icon("copy")), CONFIRMATION_MS);
  });
  return button;
}
