// The server's models in its panel: how each stands and, with a key that may, loading, unloading and fetching.

import { announce } from "./announce.js";
import { textButton } from "./buttons.js";
import { byId, element } from "./dom.js";
import { fetchModel, modelStates, refusals } from "./management.js";
import { ModelRow } from "./model_row.js";

/** The list; it is as new as the last `refresh()`. */
export class ModelList {
  #rows = new Map();
  #told = "";
  #onChanged;
  #count = element("span", { class: "hint" });
  #list = element("ul", { class: "model-rows", "aria-label": "Models" });
  #problem = element("p", { class: "hint problem", role: "alert", hidden: true });
  #refusal = element("div", { class: "model-refusal", hidden: true });
  #field = element("input", { id: "fetch-model", type: "text", autocomplete: "off", spellcheck: "false" });
  #form;

  /** `onChanged()` after any model changed, `onKey()` where the user wants to give a key. */
  constructor({ onChanged, onKey }) {
    this.#onChanged = onChanged;
    const submit = element("button", { type: "submit", class: "text-button" }, "Fetch");
    this.#field.placeholder = "org/repo:Q4_K_M";
    this.#form = element("form", { class: "dialog-form fetch-form", hidden: true },
      element("label", { for: "fetch-model" }, "Fetch a model"),
      element("div", { class: "fetch-row" }, this.#field, submit));
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#fetch();
    });
    this.#refusal.append(element("p", { class: "hint" }), textButton("Server’s key…", onKey, { iconName: "key" }));
    const summary = element("summary", {}, "Models ", this.#count);
    this.node = element("details", { class: "models" },
      summary, this.#list, this.#form, this.#problem, this.#refusal);
  }

  /** Asks what may be done: anew for another key. */
  async askWhatMayBeDone() {
    let refused;
    try {
      refused = await refusals();
    } catch (error) {
      refused = { loading: error.message, fetching: error.message, hasKey: error.kind === "key" };
    }
    const reasons = new Set([refused.loading, refused.fetching].filter(Boolean));
    this.#refusal.hidden = !reasons.size;
    this.#refusal.firstChild.textContent = [...reasons].join(" ");
    this.#refusal.lastChild.hidden = !refused.loading || !refused.hasKey;
    this.#form.hidden = Boolean(refused.fetching);
    this.#list.classList.toggle("only-shown", Boolean(refused.loading));
  }

  /** Asks how the models stand, and shows it; what goes wrong is shown in its place. */
  async refresh() {
    try {
      this.#show(await modelStates());
    } catch (error) {
      this.#count.textContent = error.message;
    }
  }

  #show(states) {
    const here = states.filter(({ isHere }) => isHere);
    const coming = states.filter(({ value }) => value === "downloading").length;
    const loaded = here.filter(({ value }) => value === "loaded").length;
    const parts = [`${loaded} of ${here.length} loaded`, coming && `fetching ${coming}`];
    this.#count.textContent = parts.filter(Boolean).join(", ");
    this.#dropRows(new Set(states.map(({ id }) => id)));
    for (const state of states) {
      if (!this.#rows.has(state.id)) this.#addRow(state.id);
      this.#rows.get(state.id).show(state);
    }
    // How much of one is here changes all the time, and nobody else shows it.
    const now = JSON.stringify(states.map(({ id, isHere, value }) => [id, isHere, value]));
    if (this.#told && this.#told !== now) this.#onChanged();
    this.#told = now;
  }

  #addRow(id) {
    const row = new ModelRow(id, () => this.refresh());
    this.#rows.set(id, row);
    this.#list.append(row.node);
  }

  #dropRows(staying) {
    for (const [id, { node }] of this.#rows) {
      if (staying.has(id)) continue;
      const hadFocus = node.contains(document.activeElement);
      node.remove();
      this.#rows.delete(id);
      if (hadFocus) (this.#form.hidden ? byId("server-panel").querySelector("button") : this.#field).focus();
    }
  }

  async #fetch() {
    const name = this.#field.value.trim();
    if (!name) {
      this.#field.focus();
      return;
    }
    this.#problem.hidden = true;
    try {
      await fetchModel(name);
      this.#field.value = "";
      announce(`${name} is being fetched.`);
    } catch (error) {
      this.#problem.textContent = error.message;
      this.#problem.hidden = false;
    }
    await this.refresh();
  }
}
