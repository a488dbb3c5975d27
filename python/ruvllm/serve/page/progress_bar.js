// A thin bar with a few words beside it: how much of something is done. Programs that read the page aloud get it as
// a progress bar.

import { element, svgElement } from "./dom.js";

/** The bar, hidden until a share is shown; `label` says of what. */
export class ProgressBar {
  #fill = svgElement("rect", { width: "0", height: "4" });
  #text = element("span");

  constructor(label) {
    const box = { viewBox: "0 0 100 4", preserveAspectRatio: "none", "aria-hidden": "true" };
    const range = { role: "progressbar", "aria-label": label, "aria-valuemin": "0", "aria-valuemax": "100" };
    const bar = svgElement("svg", box, this.#fill);
    this.node = element("div", { class: "progress", hidden: true, ...range }, bar, this.#text);
  }

  /** Shows a share from 0 to 1, and the words that `say` makes of it as "43 %". */
  show(share, say) {
    const percent = String(Math.floor(share * 100));
    this.#fill.setAttribute("width", percent);
    this.#text.textContent = say(`${percent} %`);
    this.node.setAttribute("aria-valuenow", percent);
    this.node.hidden = false;
  }

  hide() {
    this.node.hidden = true;
  }

  get isShown() {
    return !this.node.hidden;
  }
}
