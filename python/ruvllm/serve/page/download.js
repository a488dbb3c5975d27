// Hands a text to the browser as a file to save.

import { element } from "./dom.js";

const KEPT_MS = 10_000;

/** Saves a text under a name; `type` is its media type. */
export function saveAsFile(name, text, type) {
  const address = URL.createObjectURL(new Blob([text], { type }));
  element("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), KEPT_MS);
}

/** A title as the name of a file: letters, digits and dashes. */
export function fileNameOf(title) {
  const name = title.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-+|-+$/g, "");
  return name || "conversation";
}
