// Which model is asked, and with which adapter: a name where the server has one model, a choice where it has
// several; a second choice where there are adapters on the model that is chosen.

import { byId, element } from "./dom.js";
import { keep, kept } from "./keep.js";
import { listModels } from "./server.js";

const NAME = "ruvllm.model";

/** The models of the server. */
export class Models {
  #picker = byId("model");
  #adapterPicker = byId("adapter");
  #name = byId("model-name");
  #models = [];
  #asked = new Map();

  constructor() {
    this.#picker.addEventListener("change", () => {
      this.#showAdapters(null);
      this.#remember();
    });
    this.#adapterPicker.addEventListener("change", () => this.#remember());
  }

  /** What to ask for: the adapter where one is chosen, else the model; where none is known yet, the server is
   * asked first. Throws a ServerError. */
  async chosen() {
    if (!this.#models.length) await this.load();
    return this.#chosen;
  }

  /** Asks the server for its models and shows them; throws a ServerError. */
  async load() {
    this.#models = await listModels();
    const remembered = this.#models.find(({ id }) => id === kept(NAME));
    const base = remembered?.parent ?? remembered?.id;
    const models = this.#models.filter(({ parent }) => parent === null);
    this.#picker.replaceChildren(...models.map((model) => option(model.id, labelOf(model), base)));
    this.#picker.hidden = models.length < 2;
    this.#name.hidden = models.length !== 1;
    this.#name.textContent = models.length ? labelOf(models[0]) : "";
    this.#showAdapters(remembered?.id);
  }

  /** How many tokens fit into the context of a model, null where that is not known. */
  async contextOf(name) {
    const found = () => this.#models.find(({ id }) => id === name)?.context ?? null;
    // A server says it once it has loaded the model, which the first request may have made it do.
    if (this.#models.length && found() === null) {
      if (!this.#asked.has(name)) this.#asked.set(name, this.#readAgain());
      await this.#asked.get(name);
    }
    return found();
  }

  async #readAgain() {
    this.#models = await listModels().catch(() => this.#models);
  }

  /** Whether the server is loading any of them. */
  get areLoading() {
    return this.#models.some(({ loading }) => loading !== null);
  }

  /** How far the server has loaded a model, in words; null once it has, or where it does not say. */
  async loading(name) {
    await this.#readAgain();
    const { parent = null, loading = null } = this.#models.find(({ id }) => id === name) ?? {};
    if (loading === null) return null;
    return [`The model ${parent ?? name} is loading`, loading].filter(Boolean).join(", ");
  }

  /** Says in the place of the name how it stands with the server. */
  showState(text) {
    this.#picker.hidden = true;
    this.#adapterPicker.hidden = true;
    this.#name.hidden = false;
    this.#name.textContent = text;
  }

  get #chosen() {
    return this.#adapterPicker.value || this.#picker.value;
  }

  #remember() {
    keep(NAME, this.#chosen);
  }

  // Those on the model that is chosen; none is a choice as well.
  #showAdapters(selected) {
    const base = this.#picker.value;
    const adapters = this.#models.filter(({ parent }) => parent === base);
    const options = adapters.map(({ id }) => {
      return option(id, id.startsWith(`${base}:`) ? id.slice(base.length + 1) : id, selected);
    });
    this.#adapterPicker.replaceChildren(option("", "No adapter", selected), ...options);
    this.#adapterPicker.hidden = !adapters.length;
  }
}

function labelOf({ id, loading }) {
  return loading === null ? id : `${id} (${["loading", loading].filter(Boolean).join(", ")})`;
}

function option(value, text, selected) {
  return element("option", { value, selected: value === selected }, text);
}
