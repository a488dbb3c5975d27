// One message of the user on the page, as it was typed, with its files, and the field to edit it. A long one is
// folded, so that the answer is not a mile below.

import { iconButton } from "./buttons.js";
import { copyButton } from "./clipboard.js";
import { element } from "./dom.js";
import { messageEditor } from "./message_editor.js";
import { sentText } from "./text_files.js";
import { versionSwitch } from "./version_switch.js";

const FOLDED_FROM_CHARACTERS = 2000;
const FOLDED_FROM_LINES = 20;

/** Shows a message; `onEdit(text)` gets what an edit made of it. */
export class QuestionView {
  #message;
  #versions;
  #handlers;
  #editor = null;

  constructor(message, versions, handlers) {
    this.#message = message;
    this.#versions = versions;
    this.#handlers = handlers;
    this.node = element("article", { class: "message question", "aria-label": "You" });
    this.#show();
  }

  /** What has become of its text in a field that is open; null where none is. */
  get draft() {
    return this.#editor?.text() ?? null;
  }

  /** Takes what has become of the messages around it; a field that is open stays as it is. */
  update(versions, handlers) {
    this.#versions = versions;
    this.#handlers = handlers;
    if (!this.#editor) this.#show();
  }

  #show() {
    const actions = element("div", { class: "actions", role: "group", "aria-label": "This message" },
      iconButton("edit", "Edit the message", () => this.edit()),
      copyButton("Copy the message", () => this.#message.content || sentText(this.#message)),
      versionSwitch("message", this.#versions, this.#message, this.#handlers.onVersion));
    const files = (this.#message.files ?? []).map(fileView);
    const bubble = element("div", { class: "bubble" }, ...files, ...textNodes(this.#message.content));
    this.node.replaceChildren(bubble, actions);
  }

  /** Puts a field in the place of the text, to type in. */
  edit() {
    if (!this.#editor) this.openEditor(this.#message.content);
    this.#editor.focus();
  }

  /** Puts a field with this text there, and leaves the focus where it is. */
  openEditor(draft) {
    const onCancel = () => {
      this.#editor = null;
      this.#show();
      this.node.querySelector(".actions button").focus();
    };
    const onDone = (text) => {
      this.#editor = null;
      this.#handlers.onEdit(text);
    };
    const options = { label: "Your message, edited", confirm: "Send", sendsOnEnter: true, onDone, onCancel };
    this.#editor = messageEditor(draft, options);
    this.node.replaceChildren(this.#editor.node);
  }
}

// A file that came along, folded away.
function fileView({ name, text }) {
  const summary = element("summary", {}, `${name} (${text.length.toLocaleString()} characters)`);
  return element("details", { class: "file" }, summary, element("pre", { tabindex: "0" }, text));
}

function textNodes(text) {
  const isLong = text.length > FOLDED_FROM_CHARACTERS || text.split("\n").length > FOLDED_FROM_LINES;
  if (!isLong) return [text];
  const whole = element("div", { class: "folded" }, text);
  const button = element("button", { type: "button", class: "fold", "aria-expanded": "false" });
  const show = (isFolded) => {
    whole.classList.toggle("folded", isFolded);
    button.setAttribute("aria-expanded", String(!isFolded));
    button.textContent = isFolded ? `Show all ${text.length.toLocaleString()} characters` : "Show less";
  };
  button.addEventListener("click", () => show(!whole.classList.contains("folded")));
  show(true);
  return [whole, button];
}
