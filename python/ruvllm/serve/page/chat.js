// What happens when the user sends, stops, edits or asks again. Holds the conversation that is shown and the
// answers that are being written; an answer goes on being written while another conversation is looked at.

import { announce } from "./announce.js";
import { takeCalls } from "./calls.js";
import { streamAnswer } from "./completion.js";
import {
  addMessage, hasBegun, newConversation, removeMessage, requestMessages, showVersion, shownMessages,
} from "./conversation.js";
import { ask, ServerError } from "./server.js";
import { lastSettings, samplingFields } from "./settings.js";
import { partThinking } from "./thinking.js";
import { Transcript } from "./transcript.js";
import { troubleCard, unansweredCard } from "./trouble_card.js";
import { tellWaiting } from "./waiting.js";

const SAVE_EVERY_MS = 1000;
const ASK_WHETHER_READY_MS = 1000;

/** The conversation that is shown, and all answers in the making. */
export class Chat {
  #store;
  #hooks;
  #runs = new Map();
  #troubles = new Map();
  #transcript;

  /**
   * `hooks`: changed() after every change, model() -> the one to ask, loading(model) -> how far it is loaded, null
   * once it is, askForKey() -> whether there is another one, cannotKeep(error) where the browser refuses to store,
   * confirmDeletion(isLast) -> whether to delete an answer, focusMessage() after what had the focus has gone.
   */
  constructor(store, hooks) {
    this.#store = store;
    this.#hooks = hooks;
    this.current = newConversation(lastSettings());
    this.#transcript = new Transcript({
      onAgain: (answer) => this.#answer(this.current, answer.parent),
      onGoOn: (answer) => this.#goOn(this.current, answer),
      onEdit: (question, text) => this.#ask(question.parent, text, question.files),
      onEditAnswer: (answer, text) => this.#replaceAnswer(answer, text),
      onDelete: (answer) => this.#removeAnswer(answer),
      onTaught: () => this.#keep(this.current),
      onVersion: (version) => {
        showVersion(this.current, version);
        this.#keep(this.current);
        this.#draw();
      },
    });
  }

  get isWriting() {
    return this.#runs.has(this.current.id);
  }

  /** Whether an answer of that conversation is being written. */
  isWritingIn(id) {
    return this.#runs.has(id);
  }

  /** A conversation that is shown or being written in, as it is now; null for any other. */
  held(id) {
    return id === this.current.id ? this.current : (this.#runs.get(id)?.conversation ?? null);
  }

  /** Shows a kept conversation; says whether there is one with that id. */
  async open(id) {
    const conversation = this.#runs.get(id)?.conversation ?? (await this.#store.load(id));
    if (!conversation) return false;
    this.current = conversation;
    this.#draw();
    return true;
  }

  /** Shows an empty conversation; it is kept once something is said in it. */
  begin() {
    this.current = newConversation(lastSettings());
    this.#draw();
  }

  /** Sends what the user typed, with the files that go along. */
  send(text, files = []) {
    this.#ask(this.current.leaf, text, files);
  }

  /** Ends the answer that is being written, keeping what there is. */
  stop(id = this.current.id) {
    this.#runs.get(id)?.abort.abort();
  }

  editLastQuestion() {
    return !this.isWriting && this.#transcript.editLastQuestion();
  }

  /** Keeps the conversation that is shown, after its settings or title changed. */
  async keepCurrent() {
    if (this.current.messages.length) await this.#keep(this.current);
    this.#hooks.changed();
  }

  /** Forgets a conversation for good. */
  async remove(id) {
    this.#troubles.delete(id);
    await this.#end(id);
    await this.#store.remove(id);
    if (id === this.current.id) this.begin();
    else this.#hooks.changed();
  }

  async #ask(parent, text, files = []) {
    const conversation = this.current;
    await this.#end(conversation.id);
    const said = { role: "user", content: text.trim(), ...(files.length && { files }) };
    const question = addMessage(conversation, parent, said);
    await this.#answer(conversation, question.id);
  }

  // Stops the answer of a conversation, if one is being written, and waits until it is put away.
  async #end(id) {
    this.stop(id);
    await this.#runs.get(id)?.ended;
  }

  // Writes a new answer to the message `parent`.
  async #answer(conversation, parent) {
    await this.#end(conversation.id);
    conversation.leaf = parent;
    this.#troubles.delete(conversation.id);
    const asked = shownMessages(conversation);
    const message = addMessage(conversation, parent, { role: "assistant", content: "", thinking: "", finish: null });
    await this.#write(conversation, message, asked);
  }

  // Goes on with an answer that ended early: a last message of the assistant's is what the model continues.
  async #goOn(conversation, message) {
    await this.#end(conversation.id);
    this.#troubles.delete(conversation.id);
    Object.assign(message, { finish: null, completionId: null, taught: null });
    await this.#write(conversation, message, shownMessages(conversation));
  }

  // What the user makes of an answer stands beside it, as another answer would: nothing is lost.
  async #replaceAnswer(answer, text) {
    const conversation = this.current;
    await this.#end(conversation.id);
    const { thinking } = partThinking(answer);
    const { calls, model } = answer;
    const edited = { role: "assistant", content: text.trim(), thinking, finish: "edited", calls, model };
    addMessage(conversation, answer.parent, edited);
    this.#show(conversation, "Answer edited.");
  }

  async #removeAnswer(answer) {
    const conversation = this.current;
    const isLast = shownMessages(conversation).at(-1) === answer;
    if (!(await this.#hooks.confirmDeletion(isLast))) return;
    await this.#end(conversation.id);
    removeMessage(conversation, answer);
    this.#show(conversation, "Answer deleted.");
  }

  // Shows what has become of a conversation, unless another one is looked at by now, and keeps it.
  #show(conversation, what) {
    this.#troubles.delete(conversation.id);
    if (conversation === this.current) {
      this.#draw();
      this.#hooks.focusMessage();
      announce(what);
    }
    this.#keep(conversation);
  }

  async #write(conversation, message, asked) {
    const run = { conversation, message, abort: new AbortController(), saved: Date.now(), ended: null };
    this.#runs.set(conversation.id, run);
    if (conversation === this.current) this.#draw();
    this.#keep(conversation);
    run.ended = this.#follow(run, asked).then(() => null, (error) => this.#takeFailure(run, error))
      .then((trouble) => this.#putAway(run, trouble));
    const trouble = await run.ended;
    if (trouble) await this.#recover(conversation, trouble);
  }

  // The request is made in here, so that whatever goes wrong with it is shown like what goes wrong later.
  async #follow(run, asked) {
    const messages = requestMessages(run.conversation, asked);
    const model = await this.#hooks.model();
    const request = { model, messages, ...samplingFields(run.conversation.settings) };
    this.#tellWaiting(run, model);
    const onPiece = (text, thinking, calls) => {
      run.message.content += text;
      run.message.thinking += thinking;
      takeCalls(run.message, calls);
      if (run.conversation === this.current) this.#transcript.refreshAnswer();
      if (Date.now() - run.saved < SAVE_EVERY_MS) return;
      run.saved = Date.now();
      this.#keep(run.conversation);
    };
    const onReading = (share) => run.conversation === this.current && this.#transcript.showReading(share);
    const options = { signal: run.abort.signal, onPiece, onReading };
    const { firstTextMs, totalMs, ...answer } = await streamAnswer(request, options);
    Object.assign(run.message, answer, { clock: { firstTextMs, totalMs } });
  }

  #tellWaiting(run, model) {
    tellWaiting({
      isOver: () => this.#runs.get(run.conversation.id) !== run || hasBegun(run.message),
      loading: () => this.#hooks.loading(model),
      show: (text) => run.conversation === this.current && this.#transcript.showWaiting(text),
    });
  }

  // Marks the answer; gives the error to show, or null where the user stopped.
  #takeFailure({ message }, error) {
    if (error.name === "AbortError") {
      message.finish = "stopped";
      return null;
    }
    message.finish = "broken";
    if (error instanceof ServerError) return error;
    console.error(error);
    return new ServerError("broken", `This page made a mistake: ${error.message}`);
  }

  async #putAway({ conversation, message }, trouble) {
    this.#runs.delete(conversation.id);
    const isEmpty = !hasBegun(message) && message.finish !== "stop" && message.finish !== "length";
    if (isEmpty) {
      conversation.messages = conversation.messages.filter(({ id }) => id !== message.id);
      conversation.leaf = message.parent;
    }
    if (trouble) this.#troubles.set(conversation.id, trouble);
    if (conversation === this.current) {
      this.#draw();
      if (!trouble) announce(isEmpty ? "Stopped." : `Answer: ${partThinking(message).said}`);
    }
    await this.#keep(conversation);
    return trouble;
  }

  // Some troubles pass: a key can be given, a model gets loaded.
  async #recover(conversation, trouble) {
    if (trouble.kind === "key" && conversation === this.current) {
      if (await this.#hooks.askForKey()) this.#retry(conversation);
    } else if (trouble.kind === "loading") {
      await this.#awaitModel(conversation, trouble);
    }
  }

  async #awaitModel(conversation, trouble) {
    let isLoading = false;
    while (this.#troubles.get(conversation.id) === trouble) {
      const state = await serverState();
      if (state === "ready" && isLoading) this.#retry(conversation);
      // A server that is not loading and answers 503 all the same: then the user decides.
      if (state !== "loading") return;
      if (!isLoading) {
        isLoading = true;
        trouble.isAwaited = true;
        if (conversation === this.current) this.#draw();
      }
      await new Promise((resolve) => setTimeout(resolve, ASK_WHETHER_READY_MS));
    }
  }

  #retry(conversation) {
    const last = shownMessages(conversation).at(-1);
    if (last) this.#answer(conversation, last.role === "assistant" ? last.parent : last.id);
  }

  #draw() {
    const conversation = this.current;
    const writing = this.#runs.get(conversation.id)?.message ?? null;
    this.#transcript.show(conversation, writing, writing ? null : this.#card(conversation));
    this.#hooks.changed();
  }

  #card(conversation) {
    const onRetry = () => this.#retry(conversation);
    const trouble = this.#troubles.get(conversation.id);
    if (trouble) return troubleCard(trouble, { onRetry, onNew: () => this.begin(), waiting: trouble.isAwaited });
    return shownMessages(conversation).at(-1)?.role === "user" ? unansweredCard(onRetry) : null;
  }

  async #keep(conversation) {
    try {
      await this.#store.save(conversation);
    } catch (error) {
      this.#hooks.cannotKeep(error);
    }
    this.#hooks.changed();
  }
}

// "ready", or the kind of the error that the server answers with.
async function serverState() {
  try {
    await ask("health");
    return "ready";
  } catch (error) {
    return error.kind;
  }
}
