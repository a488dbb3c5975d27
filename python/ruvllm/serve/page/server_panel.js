// What the server does now: its models, and small charts of the last minute. Asks for both every second, and only
// while the panel is open and the tab is seen.

import { Sparkline } from "./chart.js";
import { iconButton } from "./buttons.js";
import { byId, element } from "./dom.js";
import { parseMetrics, summarize } from "./metrics.js";
import { ModelList } from "./model_list.js";
import { ask } from "./server.js";

const EVERY_MS = 1000;
const SHOWN_READINGS = 60;

const count = (value) => String(Math.round(value));
const rate = (value) => (value >= 100 ? value.toFixed(0) : value.toFixed(1));
const share = (value) => `${(value * 100).toFixed(value > 0 && value < 0.1 ? 1 : 0)} %`;
const time = (value) => (value < 1 ? `${(value * 1000).toFixed(value < 0.01 ? 1 : 0)} ms` : `${value.toFixed(2)} s`);

const CHARTS = [
  { name: "generatedPerSecond", label: "Tokens written a second", format: rate },
  { name: "promptPerSecond", label: "Prompt tokens read a second", format: rate },
  { name: "running", label: "Requests running", format: count },
  { name: "waiting", label: "Requests waiting", format: count },
  { name: "cacheUse", label: "Key-value cache in use", format: share, top: 1 },
  { name: "hitShare", label: "Prompt tokens out of the prefix cache", format: share, top: 1 },
  { name: "firstTokenSeconds", label: "Time to the first token", format: time },
  { name: "betweenTokensSeconds", label: "Time between tokens", format: time },
];

/** The panel and the button that opens it. */
export class ServerPanel {
  #panel = byId("server-panel");
  #notice = element("p", { class: "panel-notice", role: "status", hidden: true });
  #rows = CHARTS.map((chart) => new ChartRow(chart));
  #models;
  #before = null;
  #timer = null;

  /** `onModels()` after the server's models changed, `onKey()` where the user wants to give a key. */
  constructor({ onModels, onKey }) {
    this.#models = new ModelList({ onChanged: onModels, onKey });
    const attributes = { "aria-expanded": "false", "aria-controls": "server-panel" };
    this.button = iconButton("pulse", "The server now", () => this.toggle(), attributes);
    const close = iconButton("close", "Close the server panel", () => this.toggle());
    const head = element("div", { class: "panel-head" }, element("h2", {}, "The server now"), close);
    const note = element("p", { class: "hint" }, "The last minute, asked every second while this is open.");
    const charts = element("dl", {}, ...this.#rows.map((row) => row.node));
    this.#panel.append(head, this.#models.node, this.#notice, charts, note);
    document.addEventListener("visibilitychange", () => this.#schedule(0));
  }

  get isOpen() {
    return !this.#panel.hidden;
  }

  toggle() {
    this.#panel.hidden = this.isOpen;
    this.button.setAttribute("aria-expanded", String(this.isOpen));
    if (this.isOpen) this.#panel.querySelector("button").focus();
    else this.button.focus();
    this.takeKey();
    this.#schedule(0);
  }

  /** Asks what the key may that is given by now. */
  takeKey() {
    if (this.isOpen) this.#models.askWhatMayBeDone();
  }

  #schedule(delay) {
    clearTimeout(this.#timer);
    const isSeen = this.isOpen && document.visibilityState === "visible";
    // After a pause the counters' growth is not a second's, so the next reading begins anew.
    if (!isSeen) this.#before = null;
    this.#timer = isSeen ? setTimeout(() => this.#read(), delay) : null;
  }

  async #read() {
    const timer = this.#timer;
    await Promise.all([this.#models.refresh(), this.#readFigures()]);
    // Closed, or opened anew, while the answer was on its way: then another reading is due already.
    if (timer === this.#timer) this.#schedule(EVERY_MS);
  }

  async #readFigures() {
    try {
      const readings = parseMetrics(await (await ask("metrics")).text());
      const at = performance.now();
      const summary = summarize(this.#before?.readings ?? null, readings, (at - (this.#before?.at ?? at)) / 1000);
      this.#before = { readings, at };
      this.#notice.hidden = true;
      this.#rows.forEach((row) => row.add(summary));
    } catch (error) {
      this.#before = null;
      this.#notice.textContent = `No figures: ${error.message}`;
      this.#notice.hidden = false;
    }
  }
}

class ChartRow {
  #chart;
  #spark;
  #value = element("span", { class: "chart-value" }, "–");
  #highest = element("span", { class: "chart-highest" });

  constructor(chart) {
    this.#chart = chart;
    this.#spark = new Sparkline(SHOWN_READINGS, chart.top ?? null);
    const figures = element("span", { class: "chart-figures" }, this.#value, this.#highest);
    const row = element("dd", { class: "chart-row" }, figures, this.#spark.node);
    this.node = element("div", { class: "chart" }, element("dt", {}, chart.label), row);
  }

  add(summary) {
    const value = summary[this.#chart.name];
    this.#spark.add(value);
    this.#value.textContent = value === null ? "–" : this.#chart.format(value);
    const { highest } = this.#spark;
    this.#highest.textContent = highest === null ? "" : `highest ${this.#chart.format(highest)}`;
  }
}
