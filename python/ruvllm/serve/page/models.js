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

  /** The model to ask. */
  get chosen() {
    return this.#picker.value || this.#ids[0] || "";
  }

  /** Asks the server for its models and shows them; throws a ServerError. */
  async load() {
    this.#ids = await listModels();
    const remembered = localStorage.getItem(NAME);
    this.#picker.replaceChildren(...this.#ids.map((id) => element("option", { value: id, selected: id === remembered }, id)));
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
