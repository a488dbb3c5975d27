// Small things that this browser keeps: settings, presets, choices. A browser refuses where its storage is full or
// off; then what was chosen counts all the same, as long as the page is open, and the user is told.

import { tell } from "./dialogs.js";

let isTold = false;

/**
 * Keeps a text under a name; says whether the browser did. Refusals are told once for the page, and each time where
 * keeping is `wanted`, what the user asked for. `area` is the storage that keeps it.
 */
export function keep(name, value, { wanted = null, area = "localStorage" } = {}) {
  try {
    window[area].setItem(name, value);
    return true;
  } catch (error) {
    if (wanted || !isTold) {
      isTold = true;
      const until = "What you choose counts until the page is closed or loaded anew.";
      tell(`The browser does not keep ${wanted ?? "your choices"}`, `Its storage refused: ${error.message} ${until}`);
    }
    return false;
  }
}

/** What is kept under a name, or null. */
export function kept(name, area = "localStorage") {
  try {
    return window[area].getItem(name);
  } catch {
    // A storage that is off has nothing.
    return null;
  }
}

/** Forgets it. */
export function forget(name, area = "localStorage") {
  try {
    window[area].removeItem(name);
  } catch {
    // Nor is there anything to forget.
  }
}
