// One answer on the page: what the model thinks (folded away), what it says, what it calls, and the buttons and
// facts below.

import { answerFacts, endNote } from "./answer_facts.js";
import { iconButton } from "./buttons.js";
import { callView } from "./calls.js";
import { copyButton } from "./clipboard.js";
import { hasBegun } from "./conversation.js";
import { element } from "./dom.js";
import { FeedbackView } from "./feedback.js";
import { GrowingMarkdown } from "./markdown.js";
import { messageEditor } from "./message_editor.js";
import { ProgressBar } from "./progress_bar.js";
import { partThinking } from "./thinking.js";
import { versionSwitch } from "./version_switch.js";

/** Shows an answer while it is written and after. */
export class AnswerView {
  #message;
  #waiting = element("p", { class: "waiting", hidden: true });
  #reading = new ProgressBar("Reading the prompt");
  #text = element("div", { class: "markdown" });
  #markdown = new GrowingMarkdown(this.#text);
  #thoughts = element("div", { class: "thoughts-text" });
  #thinking = element("details", { class: "thoughts", hidden: true }, element("summary"), this.#thoughts);
  #calls = element("div", { class: "calls" });
  #below = element("div", { class: "below" });
  #frame = null;
  #editor = null;
  #editButton = null;
  #onEdit = null;

  constructor(message) {
    this.#message = message;
    this.#text.classList.add("writing");
    const parts = [this.#thinking, this.#text, this.#reading.node, this.#waiting, this.#calls, this.#below];
    this.node = element("article", { class: "message answer", "aria-label": "Answer", "aria-busy": "true" }, ...parts);
  }

  /** Draws the message as it is now, once before the next frame however often this is called. */
  refresh() {
    this.#frame ??= requestAnimationFrame(() => {
      this.#frame = null;
      this.#draw(false);
      this.node.dispatchEvent(new Event("answer-grew", { bubbles: true }));
    });
  }

  /** Says what is waited for, as long as nothing has come; how much of the prompt is read says more. */
  showWaiting(text) {
    this.#waiting.textContent = text;
    this.#waiting.hidden = this.#reading.isShown || hasBegun(this.#message);
  }

  /** Shows how much of the prompt is read, as long as nothing has come. */
  showReading(share) {
    if (hasBegun(this.#message)) return;
    this.#reading.show(share, (percent) => `Reading the prompt, ${percent}`);
    this.#waiting.hidden = true;
  }

  /** What has become of its text in a field that is open; null where none is. */
  get draft() {
    return this.#editor?.text() ?? null;
  }

  /** Draws the message for good, with what can be done with it: `versions` of it, and the handlers of its buttons. */
  finish(versions, { onAgain, onGoOn, onVersion, onTaught, onEdit, onDelete }) {
    if (this.#frame !== null) cancelAnimationFrame(this.#frame);
    this.#frame = null;
    this.#draw(true);
    this.#hideWaiting();
    this.node.removeAttribute("aria-busy");
    this.#text.classList.remove("writing");
    const feedback = this.#message.completionId ? new FeedbackView(this.#message, onTaught) : null;
    this.#onEdit = onEdit;
    this.#editButton = iconButton("edit", "Edit the answer", () => {
      this.openEditor(partThinking(this.#message).said);
      this.#editor.focus();
    });
    const actions = element("div", { class: "actions", role: "group", "aria-label": "This answer" },
      copyButton("Copy the answer", () => partThinking(this.#message).said),
      iconButton("again", "Answer again", onAgain),
      onGoOn && iconButton("forward", "Go on with this answer", onGoOn),
      this.#editButton,
      iconButton("bin", "Delete the answer", onDelete),
      feedback?.buttons,
      versionSwitch("answer", versions, this.#message, onVersion));
    const note = endNote(this.#message);
    const facts = answerFacts(this.#message).map(({ text, title }) => element("span", { title }, text));
    this.#below.replaceChildren(
      ...(note ? [element("p", { class: "end-note" }, note)] : []),
      actions,
      element("p", { class: "facts" }, ...facts),
      ...(feedback ? [feedback.note] : []),
    );
  }

  /** Puts a field with this text in the place of the answer's, once that is drawn for good; the focus stays. */
  openEditor(draft) {
    const show = (isEdited) => [this.#text, this.#below].forEach((part) => (part.hidden = isEdited));
    const onCancel = () => {
      this.#editor.node.remove();
      this.#editor = null;
      show(false);
      this.#editButton.focus();
    };
    const onDone = (text) => {
      this.#editor = null;
      this.#onEdit(text);
    };
    const options = { label: "The answer, edited", confirm: "Keep", sendsOnEnter: false, onDone, onCancel };
    this.#editor = messageEditor(draft, options);
    show(true);
    this.node.append(this.#editor.node);
  }

  #hideWaiting() {
    this.#waiting.hidden = true;
    this.#reading.hide();
  }

  #draw(complete) {
    const { thinking, said } = partThinking(this.#message);
    if (hasBegun(this.#message)) this.#hideWaiting();
    this.#thinking.hidden = thinking === "";
    if (this.#thoughts.textContent !== thinking) this.#thoughts.textContent = thinking;
    this.#thinking.firstChild.textContent = said || complete ? "Thoughts" : "Thinking…";
    this.#markdown.update(said, complete);
    this.#drawCalls(complete);
  }

  // Calls that are whole stay as they are; the last one grows.
  #drawCalls(complete) {
    const calls = this.#message.calls ?? [];
    const kept = complete ? 0 : Math.max(0, calls.length - 1);
    while (this.#calls.childElementCount > kept) this.#calls.lastChild.remove();
    for (const call of calls.slice(this.#calls.childElementCount)) this.#calls.append(callView(call));
  }
}
