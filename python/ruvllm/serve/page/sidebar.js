// The list of conversations, and the drawer that it is on a small screen.

import { iconButton } from "./buttons.js";
import { byId, element } from "./dom.js";

const SMALL = matchMedia("(max-width: 48rem)");
const NAME = "ruvllm.sidebar";
const SEARCH_AFTER_MS = 150;

/** Opens and closes the sidebar: beside the conversation where there is room, over it where there is not. */
export class Drawer {
  #sidebar = byId("sidebar");
  #backdrop = byId("backdrop");
  #toggle = iconButton("sidebar", "Conversations", () => this.toggle(), { "aria-controls": "sidebar" });
  #isOpen = false;

  constructor() {
    byId("sidebar-toggle-place").append(this.#toggle);
    const small = { class: "icon-button only-small" };
    const close = iconButton("close", "Close the conversations", () => this.set(false), small);
    byId("close-sidebar-place").append(close);
    this.#backdrop.addEventListener("click", () => this.set(false));
    SMALL.addEventListener("change", () => this.#setUp());
    this.#setUp();
  }

  #setUp() {
    this.#show(!SMALL.matches && localStorage.getItem(NAME) !== "closed");
  }

  toggle() {
    this.set(!this.#isOpen);
  }

  /** Opens or closes it; beside the conversation the choice is remembered. */
  set(isOpen) {
    if (isOpen === this.#isOpen) return;
    this.#show(isOpen);
    if (!SMALL.matches) localStorage.setItem(NAME, isOpen ? "open" : "closed");
    else if (isOpen) this.#sidebar.querySelector("button").focus();
    else this.#toggle.focus();
  }

  /** Gets out of the way after something was chosen. Says whether it was in the way. */
  yield() {
    const wasInTheWay = SMALL.matches && this.#isOpen;
    if (wasInTheWay) this.set(false);
    return wasInTheWay;
  }

  #show(isOpen) {
    this.#isOpen = isOpen;
    document.body.classList.toggle("sidebar-closed", !isOpen);
    // Off the screen it must be off the keyboard's way too.
    this.#sidebar.inert = !isOpen;
    this.#backdrop.hidden = !(isOpen && SMALL.matches);
    this.#toggle.setAttribute("aria-expanded", String(isOpen));
  }
}

/** The list itself; `onRename(head)`, `onRemove(head)` and `onSave(head)` get the conversation's head. */
export class ConversationList {
  #list = byId("conversation-list");
  #filter = byId("conversation-filter");
  #handlers;
  #heads = [];
  #current = null;
  #found = null;
  #searches = 0;

  /** `find(text)` gives a map of the conversations that have it to what is around it. */
  constructor(handlers) {
    this.#handlers = handlers;
    let timer = null;
    this.#filter.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(() => this.#search(), SEARCH_AFTER_MS);
    });
  }

  /** Shows these heads, newest first; `current` is the id of the one that is open. */
  show(heads, current) {
    this.#heads = heads;
    this.#current = current;
    this.#search();
  }

  async #search() {
    const wanted = this.#filter.value.trim();
    const search = (this.#searches += 1);
    const found = wanted ? await this.#handlers.find(wanted) : null;
    // What was typed meanwhile is looked for by now.
    if (search !== this.#searches) return;
    this.#found = found;
    this.#draw();
  }

  #draw() {
    const heads = this.#heads.filter(({ id }) => this.#found === null || this.#found.has(id));
    const focused = document.activeElement?.dataset?.focusKey;
    this.#list.replaceChildren(...heads.map((head) => this.#item(head)));
    const none = this.#found ? "Nothing found." : "None yet.";
    if (!heads.length) this.#list.append(element("li", { class: "none" }, none));
    if (focused) this.#list.querySelector(`[data-focus-key="${CSS.escape(focused)}"]`)?.focus();
  }

  #item(head) {
    const title = head.title || "Untitled";
    const isCurrent = head.id === this.#current;
    // The list is drawn anew while one may be going through it by keyboard: the focus finds its place by this.
    const key = (what) => ({ "data-focus-key": `${what}-${head.id}` });
    const attributes = { href: `#${head.id}`, class: "conversation-link", title, ...key("open") };
    const excerpt = this.#found?.get(head.id);
    const link = element("a", { ...attributes, "aria-current": isCurrent ? "page" : null }, title,
      excerpt ? element("span", { class: "excerpt" }, excerpt) : null);
    const label = { class: "busy", role: "img", "aria-label": "An answer is being written" };
    const busy = this.#handlers.isWriting(head.id) ? element("span", label) : null;
    const tools = element("span", { class: "item-tools" },
      iconButton("page", `Save “${title}” as Markdown`, () => this.#handlers.onSave(head), key("save")),
      iconButton("edit", `Rename “${title}”`, () => this.#handlers.onRename(head), key("rename")),
      iconButton("bin", `Delete “${title}”`, () => this.#handlers.onRemove(head), key("remove")));
    return element("li", { class: isCurrent ? "current" : null }, link, busy, tools);
  }
}
