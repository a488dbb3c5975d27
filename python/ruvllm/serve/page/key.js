// The user's key for the server. It lives as long as the tab, or in this browser where the user wants that.

import { forget, keep, kept } from "./keep.js";

const NAME = "ruvllm.key";
const TAB = "sessionStorage";

/** The key, or null. */
export function currentKey() {
  return kept(NAME, TAB) ?? kept(NAME);
}

/** Whether this browser keeps the key beyond the tab. */
export function isKeyRemembered() {
  return kept(NAME) !== null;
}

/** Takes a key, or forgets it where it is empty. */
export function setKey(key, remembered) {
  forget(NAME, TAB);
  forget(NAME);
  if (!key || (remembered && keep(NAME, key, { wanted: "the key" }))) return;
  // One that could not be remembered goes with the tab.
  forget(NAME);
  keep(NAME, key, { area: TAB });
}
