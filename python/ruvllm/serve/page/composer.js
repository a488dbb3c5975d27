// The field for the next message, and the buttons beside it: one attaches files, one sends, or stops what is being
// written.

import { announce } from "./announce.js";
import { Attachments } from "./attachments.js";
import { iconButton } from "./buttons.js";
import { byId } from "./dom.js";

/** `onSend(text, files)`, `onStop()`, and `onEditLast()` for the up key in an empty field. */
export class Composer {
  #field = byId("message");
  #send = iconButton("send", "Send", () => this.#submit(), { class: "icon-button send" });
  #stop;
  #attachments = new Attachments(() => this.#fit());
  #isWriting = false;
  #handlers;

  constructor(handlers) {
    this.#handlers = handlers;
    const attributes = { class: "icon-button send", hidden: true };
    this.#stop = iconButton("stop", "Stop the answer", () => handlers.onStop(), attributes);
    byId("composer-buttons").append(this.#send, this.#stop);
    byId("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#field.addEventListener("keydown", (event) => this.#onKey(event));
    this.#field.addEventListener("input", () => this.#fit());
    this.#fit();
  }

  focus() {
    this.#field.focus();
  }

  /** Puts a text into the field for the user to go on with. */
  suggest(text) {
    this.#field.value = text;
    this.#fit();
    this.focus();
  }

  /** Shows the button that fits: one stops while an answer is being written, one sends. */
  showWriting(isWriting) {
    if (isWriting === this.#isWriting) return;
    const hadFocus = [this.#send, this.#stop].includes(document.activeElement);
    this.#isWriting = isWriting;
    this.#send.hidden = isWriting;
    this.#stop.hidden = !isWriting;
    if (hadFocus) this.focus();
  }

  get #isEmpty() {
    return this.#field.value.trim() === "" && this.#attachments.isEmpty;
  }

  #onKey(event) {
    // While an input method composes a character, Enter belongs to it.
    if (event.isComposing) return;
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      this.#submit();
    } else if (event.key === "ArrowUp" && this.#field.value === "" && this.#handlers.onEditLast()) {
      event.preventDefault();
    }
  }

  #submit() {
    if (this.#attachments.isReading) {
      announce("A file is still being read. Send once it is there.");
      return;
    }
    if (this.#isEmpty) return;
    if (this.#isWriting) {
      announce("An answer is still being written. Escape stops it.");
      return;
    }
    const text = this.#field.value;
    this.#field.value = "";
    this.#handlers.onSend(text, this.#attachments.take());
    this.#fit();
  }

  // As high as its text, up to what the style sheet allows.
  #fit() {
    this.#field.style.height = "auto";
    this.#field.style.height = `${this.#field.scrollHeight}px`;
    this.#send.disabled = this.#isEmpty || this.#attachments.isReading;
  }
}
