// Puts the page together: makes the parts and connects them. Nothing else imports this file.

import { iconButton, textButton, toolButton } from "./buttons.js";
import { Chat } from "./chat.js";
import { Composer } from "./composer.js";
import { ContextGauge } from "./context_gauge.js";
import { shownMessages } from "./conversation.js";
import { Conversations } from "./conversations.js";
import { openDecisions } from "./decisions.js";
import { askForText, askWhether, tell } from "./dialogs.js";
import { byId, element } from "./dom.js";
import { exchangeButtons, saveAsMarkdown } from "./exchange.js";
import { copyFormulasAsWritten } from "./formula_copying.js";
import { icon } from "./icons.js";
import { askForAnotherKey, askForKey } from "./key_dialog.js";
import { Models } from "./models.js";
import { ServerPanel } from "./server_panel.js";
import { rememberSettings } from "./settings.js";
import { openSettings } from "./settings_dialog.js";
import { listenForShortcuts, openShortcuts } from "./shortcuts.js";
import { ConversationList, Drawer } from "./sidebar.js";
import { themeButton } from "./theme.js";

const ASK_AGAIN_MS = 1000;
const SUGGESTIONS = [
  "Explain how a rainbow comes about, in three sentences.",
  "Write a Python function that finds the primes below n.",
  "Compare tea and coffee in a small table.",
  "Give me a plan for learning to cook in a month.",
];

const store = await Conversations.open();
const models = new Models();
const drawer = new Drawer();
const panel = new ServerPanel({ onModels: readModels, onKey: giveKey });
const gauge = new ContextGauge((model) => models.contextOf(model));
const chat = new Chat(store, {
  changed,
  model: () => models.chosen(),
  loading: (model) => models.loading(model),
  askForKey: askForAnotherKey,
  cannotKeep,
  confirmDeletion,
  focusMessage,
});
const composer = new Composer({
  onSend: (text, files) => chat.send(text, files),
  onStop: () => chat.stop(),
  onEditLast: () => chat.editLastQuestion(),
});
const list = new ConversationList({
  isWriting: (id) => chat.isWritingIn(id),
  find: (text, where) => store.find(text, where),
  onRename: rename,
  onRemove: remove,
  onSave: saveOne,
});
let toldThatNothingIsKept = false;

async function changed() {
  const { current } = chat;
  const title = current.title || "New conversation";
  byId("title").textContent = title;
  document.title = current.title ? `${title} – RuvLLM` : "RuvLLM";
  composer.showWriting(chat.isWriting);
  gauge.show(shownMessages(current));
  // The address says which conversation is open, so that reloading and going back find it.
  const hash = current.messages.length ? `#${current.id}` : "";
  if (location.hash !== hash) history.pushState(null, "", hash || location.pathname + location.search);
  list.show(await store.heads(), current.id);
}

// What is being written is ahead of what is kept, and would be put over it.
async function wholeConversation(id) {
  const found = chat.held(id) ?? (await store.load(id));
  if (!found) tell("The conversation is gone", "It was deleted meanwhile, maybe in another tab.");
  return found;
}

async function saveOne({ id }) {
  const conversation = await wholeConversation(id);
  if (conversation) saveAsMarkdown(conversation);
}

function cannotKeep(error) {
  if (toldThatNothingIsKept) return;
  toldThatNothingIsKept = true;
  const reason = error?.message ?? "no reason given";
  tell("The browser does not keep this conversation", `Its storage refused: ${reason}. Export what you need.`);
}

function confirmDeletion(isLast) {
  const text = isLast ? "It goes for good." : "It goes for good, and what was said after it too.";
  return askWhether("Delete the answer?", text, "Delete");
}

// On a phone the focus would bring up the keyboard, over half of the page.
function focusMessage() {
  if (matchMedia("(hover: hover)").matches) composer.focus();
}

async function openFromAddress() {
  const id = location.hash.slice(1);
  if (id === chat.current.id) return;
  if (!id || !(await chat.open(id))) chat.begin();
  drawer.yield();
}

function beginConversation() {
  chat.begin();
  drawer.yield();
  composer.focus();
}

async function rename({ id, title }) {
  const wanted = await askForText("Rename the conversation", "Title", { value: title });
  if (!wanted) return;
  const conversation = await wholeConversation(id);
  if (!conversation) {
    changed();
    return;
  }
  Object.assign(conversation, { title: wanted, named: true });
  try {
    await store.save(conversation);
  } catch (error) {
    cannotKeep(error);
  }
  changed();
}

async function remove({ id, title }) {
  const sure = await askWhether("Delete the conversation?", `“${title || "Untitled"}” goes for good.`, "Delete");
  if (sure) await chat.remove(id);
}

function editSettings() {
  openSettings(chat.current.settings, {
    model: () => models.chosen(),
    onChange: (settings) => {
      chat.current.settings = settings;
      rememberSettings(settings);
      chat.keepCurrent();
    },
    onKey: giveKey,
  });
}

async function giveKey() {
  if (!(await askForKey())) return;
  panel.takeKey();
  connect();
}

async function readModels() {
  // Whoever shows that the server is gone is not this.
  await models.load().catch(() => undefined);
  gauge.show(shownMessages(chat.current));
}

function escape() {
  if (!drawer.yield()) chat.stop();
}

// Asks for the models until the server has them to give: it may be loading, or not be there yet.
async function connect() {
  const since = Date.now();
  for (;;) {
    try {
      await models.load();
      gauge.show(shownMessages(chat.current));
      if (!models.areLoading) return;
    } catch (error) {
      if (error.kind === "key") {
        models.showState("The server wants a key");
        if (!(await askForAnotherKey())) return;
        continue;
      }
      const passes = error.kind === "loading" || error.kind === "unreachable";
      const reason = `${error.title ?? "This page made a mistake"}: ${error.message}`;
      const seconds = Math.round((Date.now() - since) / 1000);
      models.showState(error.kind === "loading" ? `The model is loading… ${seconds} s` : reason);
      if (!passes) return;
    }
    await new Promise((resolve) => setTimeout(resolve, ASK_AGAIN_MS));
  }
}

function furnish() {
  const begin = element("button", { type: "button", class: "text-button new-conversation", onclick: beginConversation },
    icon("plus"), "New conversation");
  byId("new-conversation-place").append(begin);
  const about = "API: the interface for programs";
  const docs = element("a", { class: "tool-button", href: "docs", title: about, "aria-label": about },
    icon("code"), element("span", {}, "API"));
  const keys = toolButton("keyboard", "Keys", "Keys", openShortcuts);
  byId("sidebar-tools").append(themeButton(), ...exchangeButtons(store, changed), keys, docs);
  const decisions = iconButton("scales", "Decisions", () => openDecisions({ model: () => models.chosen() }));
  byId("topbar-tools").append(decisions, iconButton("sliders", "Settings", editSettings), panel.button);
  byId("suggestions").append(...SUGGESTIONS.map((text) => textButton(text, () => composer.suggest(text))));
  byId("keeping-notice").hidden = store.isKept;
  copyFormulasAsWritten();
}

furnish();
// The address names the open conversation, so the link only moves the focus.
byId("skip").addEventListener("click", (event) => {
  event.preventDefault();
  composer.focus();
});
listenForShortcuts({
  newConversation: beginConversation,
  toggleSidebar: () => drawer.toggle(),
  focusMessage: () => composer.focus(),
  escape,
});
addEventListener("popstate", openFromAddress);
addEventListener("hashchange", openFromAddress);
await openFromAddress();
await changed();
focusMessage();
await connect();
