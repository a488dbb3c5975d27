// Which model is asked: a name where the server has one, a choice where it has several.

import { byId, element } from "./dom.js";
import { listModels } from "./server.js";

const NAME = "ruvllm.model";

/** The models of the server. */
export class Models {
  #picker = byId("model");
  #name = byId("model-name");
  #ids = [];

  constructor() {
    this.#picker.addEventListener("change", () => localStorage.setItem(NAME, this.#picker.value));
  }

  /** The model to ask; where none is known yet, the server is asked first. Throws a ServerError. */
  async chosen() {
    if (!this.#ids.length) await this.load();
    return this.#picker.value;
  }

  /** Asks the server for its models and shows them; throws a ServerError. */
  async load() {
    this.#ids = await listModels();
    const remembered = localStorage.getItem(NAME);
    const option = (id) => element("option", { value: id, selected: id === remembered }, id);
    this.#picker.replaceChildren(...this.#ids.map(option));
    this.#picker.hidden = this.#ids.length < 2;
    this.#name.hidden = this.#ids.length !== 1;
    this.#name.textContent = this.#ids[0] ?? "";
  }

  /** Says in the place of the name how it stands with the server. */
  showState(text) {
    this.#picker.hidden = true;
    this.#name.hidden = false;
    this.#name.textContent = text;
  }
}
