// The buttons of the page: an icon alone, an icon with a word below it, or a text.

import { element } from "./dom.js";
import { icon } from "./icons.js";

/** A button that shows only an icon; its name is read aloud and shown on hovering. */
export function iconButton(name, label, onclick, attributes = {}) {
  const all = { type: "button", class: "icon-button", title: label, "aria-label": label, onclick, ...attributes };
  return element("button", all, icon(name));
}

/** A button with an icon and a word below it; `label` is the whole of what it does and begins with the word. */
export function toolButton(name, word, label, onclick) {
  const attributes = { type: "button", class: "tool-button", title: label, "aria-label": label, onclick };
  return element("button", attributes, icon(name), element("span", {}, word));
}

/** A button with a text, and an icon before it where one is named. */
export function textButton(label, onclick, { iconName = null, kind = "plain" } = {}) {
  const children = iconName ? [icon(iconName), label] : [label];
  return element("button", { type: "button", class: `text-button ${kind}`, onclick }, ...children);
}
