// One model in the server's panel: its name, how it stands, and the button for what can be done with it.

import { announce } from "./announce.js";
import { textButton } from "./buttons.js";
import { askWhether } from "./dialogs.js";
import { element } from "./dom.js";
import { fetchModel, loadModel, stopFetching, unloadModel } from "./management.js";
import { ProgressBar } from "./progress_bar.js";

const WORDS = { unloaded: "not loaded", downloading: "fetching" };
const UNLOADING = "Its memory is free once no answer needs it. Whoever asks for it next waits until it is loaded.";

/** A row; `onDone()` is called after something was done. */
export class ModelRow {
  #id;
  #onDone;
  #state = null;
  #isBusy = false;
  // What the server said against the last thing that was wanted; why the model is as it is stands in its state.
  #refusal = element("p", { class: "hint problem", role: "alert", hidden: true });
  #words = element("p", { class: "model-state" });
  #problem = element("p", { class: "hint problem", role: "alert", hidden: true });
  #bar;
  #button = textButton("", () => this.#act());
  #forget = textButton("Forget", () => this.#do(stopFetching));

  constructor(id, onDone) {
    this.#id = id;
    this.#onDone = onDone;
    this.#bar = new ProgressBar(id);
    this.#forget.setAttribute("aria-label", `Forget ${id}`);
    const buttons = element("span", { class: "model-buttons" }, this.#button, this.#forget);
    const head = element("div", { class: "model-head" }, element("span", { class: "model-id" }, id), buttons);
    this.node = element("li", { class: "model-row" }, head, this.#words, this.#bar.node,
      this.#problem, this.#refusal);
  }

  /** Shows how the model stands. */
  show(state) {
    const { value, share, totalBytes, reason } = state;
    if (this.#state && this.#state.value !== value) announce(`${this.#id}: ${wordsOf(state)}.`);
    tell(this.#problem, reason);
    this.#state = state;
    this.#words.textContent = wordsOf(state);
    this.#words.hidden = share !== null;
    const size = totalBytes ? ` of ${bytes(totalBytes)}` : "";
    if (share === null) this.#bar.hide();
    else this.#bar.show(share, (percent) => `${wordsOf(state)}, ${percent}${size}`);
    this.#showButtons();
  }

  // A button that has nothing to do for now stays, since the focus may be on it.
  #showButtons() {
    const action = actionOf(this.#state);
    const label = action ?? `${WORDS[this.#state.value] ?? this.#state.value}…`;
    if (this.#button.textContent !== label) this.#button.textContent = label;
    this.#button.setAttribute("aria-label", `${label} ${this.#id}`);
    this.#button.setAttribute("aria-disabled", String(this.#isBusy || action === null));
    this.#forget.hidden = action !== "Try again";
  }

  #act() {
    const action = actionOf(this.#state);
    if (action === "Load") return this.#do(loadModel);
    if (action === "Unload") return this.#unload();
    if (action === "Stop") return this.#do(stopFetching);
    return action === "Try again" ? this.#do(fetchModel) : null;
  }

  async #unload() {
    if (this.#isBusy || !(await askWhether(`Unload ${this.#id}?`, UNLOADING, "Unload"))) return;
    await this.#do(unloadModel);
  }

  async #do(work) {
    if (this.#isBusy) return;
    this.#isBusy = true;
    this.#showButtons();
    try {
      await work(this.#id);
      tell(this.#refusal, null);
    } catch (error) {
      tell(this.#refusal, error.message);
    }
    this.#isBusy = false;
    this.#showButtons();
    await this.#onDone();
  }
}

// An alert is read again whenever its text is set, so it is only where that is another.
function tell(node, problem) {
  if (node.textContent !== (problem ?? "")) node.textContent = problem ?? "";
  node.hidden = !problem;
}

function wordsOf({ value, isHere }) {
  return !isHere && value !== "downloading" ? "could not be fetched" : (WORDS[value] ?? value);
}

// What can be done with a model that stands so; null while it is on its way to another state.
function actionOf({ isHere, value }) {
  if (!isHere) return value === "downloading" ? "Stop" : "Try again";
  return { unloaded: "Load", loaded: "Unload" }[value] ?? null;
}

function bytes(count) {
  return count >= 1e9 ? `${(count / 1e9).toFixed(1)} GB` : `${Math.max(1, Math.round(count / 1e6))} MB`;
}
