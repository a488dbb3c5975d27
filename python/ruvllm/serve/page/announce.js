// Speaks through the page's polite live region: screen readers hear what happened, once, when it is complete.

import { byId } from "./dom.js";

/** Has screen readers say a text. The same text twice in a row is said twice. */
export function announce(text) {
  const region = byId("announcements");
  region.textContent = "";
  // A region that is emptied and filled in one go has not changed for the browser.
  setTimeout(() => {
    region.textContent = text;
  }, 50);
}
