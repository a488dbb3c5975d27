// One answer on the page: what the model thinks (folded away), what it says, what it calls, and the buttons and
// facts below.

import { answerFacts, endNote } from "./answer_facts.js";
import { callView } from "./calls.js";
import { copyButton } from "./clipboard.js";
import { element, iconButton } from "./dom.js";
import { FeedbackView } from "./feedback.js";
import { GrowingMarkdown } from "./markdown.js";
import { versionSwitch } from "./version_switch.js";

const THINKING = /^\s*<think>([\s\S]*?)(?:<\/think>|$)/;

/** Parts what a model thinks from what it says, whether the server did so already or the text holds marks. */
export function partThinking({ content, thinking = "" }) {
  const found = thinking ? null : THINKING.exec(content);
  if (!found) return { thinking: thinking.trim(), said: content };
  return { thinking: found[1].trim(), said: content.slice(found[0].length).trimStart() };
}

/** Shows an answer while it is written and after. */
export class AnswerView {
  #message;
  #text = element("div", { class: "markdown" });
  #markdown = new GrowingMarkdown(this.#text);
  #thoughts = element("div", { class: "thoughts-text" });
  #thinking = element("details", { class: "thoughts", hidden: true }, element("summary"), this.#thoughts);
  #calls = element("div", { class: "calls" });
  #below = element("div", { class: "below" });
  #frame = null;

  constructor(message) {
    this.#message = message;
    this.#text.classList.add("writing");
    const parts = [this.#thinking, this.#text, this.#calls, this.#below];
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

  /** Draws the message for good, with what can be done with it. */
  finish(versions, { onAgain, onGoOn, onVersion, onTaught }) {
    if (this.#frame !== null) cancelAnimationFrame(this.#frame);
    this.#frame = null;
    this.#draw(true);
    this.node.removeAttribute("aria-busy");
    this.#text.classList.remove("writing");
    const feedback = this.#message.completionId ? new FeedbackView(this.#message, onTaught) : null;
    const actions = element("div", { class: "actions", role: "group", "aria-label": "This answer" },
      copyButton("Copy the answer", () => partThinking(this.#message).said),
      iconButton("again", "Answer again", onAgain),
      onGoOn && iconButton("forward", "Go on with this answer", onGoOn),
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

  #draw(complete) {
    const { thinking, said } = partThinking(this.#message);
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
