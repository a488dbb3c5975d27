// How much of the model's context the conversation fills, by what the server counted for its last answer.

import { byId, element, svgElement } from "./dom.js";

const NEARLY_FULL = 0.8;
const count = (tokens) => tokens.toLocaleString("en");

/** The gauge below the message field. */
export class ContextGauge {
  #node = byId("context-gauge");
  #contextOf;
  #shown = 0;

  /** `contextOf(model)` gives how many tokens fit, or null. */
  constructor(contextOf) {
    this.#contextOf = contextOf;
  }

  /** Shows it for these messages; nothing where nothing is known. */
  async show(messages) {
    const shown = (this.#shown += 1);
    const { usage, model } = messages.findLast((message) => Number.isFinite(message.usage?.total_tokens)) ?? {};
    const context = usage ? await this.#contextOf(model) : null;
    // Another conversation may be looked at by now.
    if (shown !== this.#shown) return;
    this.#node.hidden = !context;
    if (context) this.#draw(usage.total_tokens, context);
  }

  #draw(tokens, context) {
    const share = Math.min(1, tokens / context);
    const bar = svgElement("svg", { viewBox: "0 0 100 4", preserveAspectRatio: "none", "aria-hidden": "true" },
      svgElement("rect", { width: (share * 100).toFixed(2), height: "4" }));
    const percent = share < 0.01 ? "less than 1 %" : `${Math.round(share * 100)} %`;
    this.#node.classList.toggle("nearly-full", share >= NEARLY_FULL);
    this.#node.title = `Prompt and answer had ${count(tokens)} tokens when the last answer was complete`;
    const text = `Context: ${count(tokens)} of ${count(context)} tokens, ${percent}`;
    this.#node.replaceChildren(bar, element("span", {}, text));
  }
}
