// Thumbs below an answer: what the user thinks of it goes to the server, which says what it learned of that; and
// an undo. Only below answers for which the server takes feedback.

import { announce } from "./announce.js";
import { iconButton, textButton } from "./buttons.js";
import { element } from "./dom.js";
import { ask } from "./server.js";

const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`;

/** The part of an answer's foot that is about feedback; `onTaught()` after the message has changed by it. */
export class FeedbackView {
  #message;
  #onTaught;
  #up = iconButton("thumb-up", "Good answer", () => this.#give(1));
  #down = iconButton("thumb-down", "Bad answer", () => this.#give(-1));
  #note = element("p", { class: "feedback-note" });
  #isBusy = false;

  /** Two buttons, to stand with the others. */
  buttons = element("span", { class: "thumbs", role: "group", "aria-label": "What you think of it" },
    this.#up, this.#down);

  constructor(message, onTaught) {
    this.#message = message;
    this.#onTaught = onTaught;
    this.#draw();
  }

  /** What came of it, to stand below; empty before. */
  get note() {
    return this.#note;
  }

  async #give(feedback) {
    await this.#change(async () => {
      const body = { completion_id: this.#message.completionId, feedback };
      const done = await (await ask("v1/feedback", { body })).json();
      const { applied, reason, log_prob_change: change, drift, generation, model } = done;
      return { feedback, applied, reason, change, drift, generation, model };
    });
  }

  async #undo() {
    const { model, generation } = this.#message.taught;
    await this.#change(async () => {
      await ask("v1/feedback/rollback", { body: { model, generation } });
      return { isUndone: true };
    });
  }

  // One request at a time; what it came to is kept with the message.
  async #change(request) {
    if (this.#isBusy) return;
    this.#isBusy = true;
    try {
      this.#message.taught = await request();
    } catch (error) {
      this.#message.taught = { ...this.#message.taught, trouble: error.message };
    } finally {
      this.#isBusy = false;
    }
    this.#draw();
    announce(taughtText(this.#message.taught));
    this.#onTaught();
  }

  #draw() {
    const { taught } = this.#message;
    this.#up.setAttribute("aria-pressed", String(taught?.feedback > 0));
    this.#down.setAttribute("aria-pressed", String(taught?.feedback < 0));
    this.#note.replaceChildren();
    if (!taught) return;
    this.#note.append(taughtText(taught));
    const canUndo = taught.applied && !taught.trouble;
    if (canUndo) this.#note.append(" ", textButton("Undo", () => this.#undo()));
  }
}

/** What there is to say of it, in a line. */
export function taughtText({ isUndone, trouble, applied, reason, change, drift }) {
  if (trouble) return `That did not work: ${trouble}`;
  if (isUndone) return "Undone: the model answers as before.";
  if (!applied) return `Nothing changed: ${reason ?? "the server did not say why"}.`;
  return `Learned: log-probability ${signed(change)} a token, drift ${drift.toFixed(2)}.`;
}
