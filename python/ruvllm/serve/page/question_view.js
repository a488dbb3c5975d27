// One message of the user on the page, as it was typed, and the field to edit it.

import { copyButton } from "./clipboard.js";
import { element, iconButton, textButton } from "./dom.js";
import { versionSwitch } from "./version_switch.js";

/** Shows a message; `onEdit(text)` gets what an edit made of it. */
export class QuestionView {
  #message;
  #versions;
  #handlers;

  constructor(message, versions, handlers) {
    this.#message = message;
    this.#versions = versions;
    this.#handlers = handlers;
    this.node = element("article", { class: "message question", "aria-label": "You" });
    this.#show();
  }

  #show() {
    const actions = element("div", { class: "actions", role: "group", "aria-label": "This message" },
      iconButton("edit", "Edit the message", () => this.edit()),
      copyButton("Copy the message", () => this.#message.content),
      versionSwitch("message", this.#versions, this.#message, this.#handlers.onVersion));
    this.node.replaceChildren(element("div", { class: "bubble" }, this.#message.content), actions);
  }

  /** Puts a field in the place of the text. */
  edit() {
    const field = element("textarea", { "aria-label": "Your message, edited", rows: "3" });
    field.value = this.#message.content;
    const cancel = () => {
      this.#show();
      this.node.querySelector("button").focus();
    };
    const send = () => {
      if (field.value.trim()) this.#handlers.onEdit(field.value);
    };
    field.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        send();
      } else if (event.key === "Escape") {
        event.stopPropagation();
        cancel();
      }
    });
    const buttons = element("div", { class: "edit-buttons" },
      textButton("Cancel", cancel), textButton("Send", send, { kind: "primary" }));
    this.node.replaceChildren(element("div", { class: "editor" }, field, buttons));
    field.focus();
    field.setSelectionRange(field.value.length, field.value.length);
  }
}
