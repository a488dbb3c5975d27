// A small chart of one value over the last minute, drawn as SVG. Gaps (null) stay gaps.

import { svgElement } from "./dom.js";

const WIDTH = 240;
const HEIGHT = 40;

/** A line over the last `length` values; `top` fixes the upper end, else the highest value does. */
export class Sparkline {
  #values = [];
  #length;
  #top;
  #line = svgElement("path", { class: "spark-line" });
  #area = svgElement("path", { class: "spark-area" });

  constructor(length, top = null) {
    this.#length = length;
    this.#top = top;
    const box = { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none" };
    this.node = svgElement("svg", { class: "spark", "aria-hidden": "true", ...box }, this.#area, this.#line);
  }

  /** The highest value shown, or null. */
  get highest() {
    const known = this.#values.filter((value) => value !== null);
    return known.length ? Math.max(...known) : null;
  }

  add(value) {
    this.#values.push(value);
    if (this.#values.length > this.#length) this.#values.shift();
    const runs = this.#runs();
    this.#line.setAttribute("d", runs.map(linePath).join(" "));
    this.#area.setAttribute("d", runs.map(areaPath).join(" "));
  }

  // Points [x, y] of each stretch without a gap; the newest value is at the right edge.
  #runs() {
    const top = this.#top ?? (this.highest || 1);
    const offset = this.#length - this.#values.length;
    const runs = [];
    this.#values.forEach((value, index) => {
      if (value === null) return;
      if (index === 0 || this.#values[index - 1] === null) runs.push([]);
      const x = ((offset + index) / (this.#length - 1)) * WIDTH;
      runs.at(-1).push([round(x), round(HEIGHT - 2 - (Math.min(value, top) / top) * (HEIGHT - 4))]);
    });
    return runs;
  }
}

const round = (number) => Math.round(number * 10) / 10;

// A single point gets a short stroke, or nobody would see it.
const linePath = (run) => `M${corners(run)}${run.length === 1 ? "h3" : ""}`;

const areaPath = (run) => `M${run[0][0]} ${HEIGHT}L${corners(run)}L${run.at(-1)[0]} ${HEIGHT}Z`;

const corners = (run) => run.map((point) => point.join(" ")).join("L");
