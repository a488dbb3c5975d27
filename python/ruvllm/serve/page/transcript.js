// The conversation on the page, top to bottom, and where it is scrolled to. Draws what it is given; what the
// buttons do is the chat's.

import { endedEarly } from "./answer_facts.js";
import { AnswerView } from "./answer_view.js";
import { shownMessages, versions } from "./conversation.js";
import { byId, element } from "./dom.js";
import { icon } from "./icons.js";
import { QuestionView } from "./question_view.js";

const NEAR_END_PIXELS = 80;

/** Shows the messages of one conversation at a time. */
export class Transcript {
  #node = byId("transcript");
  #scroller = byId("scroller");
  #handlers;
  #answer = null;
  #lastQuestion = null;
  #views = new Map();
  #conversation = null;
  // What has become of texts that are being edited where another conversation is looked at; by conversation and
  // message, as a conversation that was brought in twice has the same messages.
  #drafts = new Map();
  #follows = true;

  constructor(handlers) {
    this.#handlers = handlers;
    const label = "To the end of the conversation";
    const toEnd = element("button", { type: "button", class: "to-end", title: label, "aria-label": label, hidden: true,
      onclick: () => this.toEnd() }, icon("down"));
    byId("to-end-place").append(toEnd);
    this.#scroller.addEventListener("scroll", () => {
      this.#follows = this.#isAtEnd();
      toEnd.hidden = this.#follows;
    });
    this.#node.addEventListener("answer-grew", () => this.#follow());
  }

  /** Draws a conversation; `writing` is the message that is still being written, `card` stands at the end. */
  show(conversation, writing, card) {
    this.#answer = null;
    this.#lastQuestion = null;
    this.#keepDrafts();
    this.#conversation = conversation.id;
    const messages = shownMessages(conversation);
    const views = messages.map((message) => this.#view(conversation, message, writing, messages.at(-1)));
    const isEdited = views.some(({ draft }) => draft !== null);
    this.#views = new Map(messages.map((message, index) => [message, views[index]]));
    this.#openDrafts();
    this.#place([...views.map(({ node }) => node), ...(card ? [card] : [])]);
    byId("welcome").hidden = views.length > 0;
    if (isEdited) this.#follow();
    else this.toEnd();
  }

  #keepDrafts() {
    for (const [message, { draft }] of this.#views) {
      if (draft !== null) this.#drafts.set(this.#draftKey(message), draft);
    }
  }

  #openDrafts() {
    for (const [message, view] of this.#views) {
      const key = this.#draftKey(message);
      if (view.draft === null && this.#drafts.has(key)) view.openEditor(this.#drafts.get(key));
      this.#drafts.delete(key);
    }
  }

  #draftKey(message) {
    return `${this.#conversation}/${message.id}`;
  }

  // Nodes that stay are not touched: a field in one would lose the focus, and what is being composed in it.
  #place(nodes) {
    const staying = new Set(nodes);
    for (const node of [...this.#node.childNodes]) if (!staying.has(node)) node.remove();
    let next = this.#node.firstChild;
    for (const node of nodes) {
      if (node === next) next = next.nextSibling;
      else this.#node.insertBefore(node, next);
    }
  }

  #view(conversation, message, writing, last) {
    const siblings = versions(conversation, message);
    // One that is being edited keeps its field when all is drawn anew: an answer may end meanwhile.
    const before = this.#views.get(message);
    const edited = before?.draft == null ? null : before;
    const onVersion = (version) => this.#handlers.onVersion(version);
    if (message.role === "user") {
      const onEdit = (text) => this.#handlers.onEdit(message, text);
      edited?.update(siblings, { onEdit, onVersion });
      this.#lastQuestion = edited ?? new QuestionView(message, siblings, { onEdit, onVersion });
      return this.#lastQuestion;
    }
    const view = edited ?? new AnswerView(message);
    if (message === writing) {
      this.#answer = view;
      view.refresh();
    } else {
      view.finish(siblings, {
        onAgain: () => this.#handlers.onAgain(message),
        onGoOn: message === last && endedEarly(message) ? () => this.#handlers.onGoOn(message) : null,
        onTaught: () => this.#handlers.onTaught(),
        onEdit: (text) => this.#handlers.onEditAnswer(message, text),
        onDelete: () => this.#handlers.onDelete(message),
        onVersion,
      });
    }
    return view;
  }

  /** Draws what the answer that is being written has become. */
  refreshAnswer() {
    this.#answer?.refresh();
  }

  /** Says what the answer that is being written waits for. */
  showWaiting(text) {
    this.#answer?.showWaiting(text);
  }

  /** Shows how much of the prompt is read, in the same place. */
  showReading(share) {
    this.#answer?.showReading(share);
  }

  /** Opens the last message of the user for editing; says whether there is one. */
  editLastQuestion() {
    this.#lastQuestion?.edit();
    return this.#lastQuestion !== null;
  }

  toEnd() {
    this.#follows = true;
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }

  // Text that grows pulls the page along only for a reader who is at its end.
  #follow() {
    if (this.#follows) this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }

  #isAtEnd() {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
    return scrollHeight - scrollTop - clientHeight < NEAR_END_PIXELS;
  }
}
