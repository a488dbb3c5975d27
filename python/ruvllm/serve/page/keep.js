// Small things that this browser keeps: settings, presets, choices. A browser refuses where its storage is full or
// off; then they count all the same, as long as the page is open, and the user is told.

import { tell } from "./dialogs.js";

// What the browser refused, by area and name.
const refused = new Map();
let isTold = false;

/**
 * Keeps a text under a name; says whether the browser did. Refusals are told once for the page, and each time where
 * keeping is `wanted`, what the user asked for. `area` is the storage that keeps it.
 */
export function keep(name, value, { wanted = null, area = "localStorage" } = {}) {
  try {
    window[area].setItem(name, value);
    refused.delete(keyOf(name, area));
    return true;
  } catch (error) {
    refused.set(keyOf(name, area), value);
    if (wanted || !isTold) tellRefusal(wanted ?? "your choices", error);
    isTold = true;
    return false;
  }
}

/** What is kept under a name, or null. */
export function kept(name, area = "localStorage") {
  try {
    return refused.get(keyOf(name, area)) ?? window[area].getItem(name);
  } catch {
    // A storage that is off has nothing.
    return null;
  }
}

/** Forgets it. */
export function forget(name, area = "localStorage") {
  refused.delete(keyOf(name, area));
  try {
    window[area].removeItem(name);
  } catch {
    // Nor is there anything to forget.
  }
}

const keyOf = (name, area) => `${area} ${name}`;

function tellRefusal(what, { message }) {
  const until = "What you choose counts until the page is closed or loaded anew.";
  tell(`The browser does not keep ${what}`, `Its storage refused: ${message} ${until}`);
}
