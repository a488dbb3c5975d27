// The list of conversations, and the drawer that it is on a small screen.

import { iconButton } from "./buttons.js";
import { byId, element } from "./dom.js";
import { keep, kept } from "./keep.js";

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
    this.#show(!SMALL.matches && kept(NAME) !== "closed");
  }

  toggle() {
    this.set(!this.#isOpen);
  }

  /** Opens or closes it; beside the conversation the choice is remembered. */
  set(isOpen) {
    if (isOpen === this.#isOpen) return;
    this.#show(isOpen);
    if (!SMALL.matches) keep(NAME, isOpen ? "open" : "closed");
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
  #written = new Set();
  #found = null;
  #search = null;

  /**
   * `find(text, {ids, signal})` gives a map of the conversations that have it to what is around it; `ids` are those
   * to look into, null for all. `isWriting(id)` says whether an answer is being written in one.
   */
  constructor(handlers) {
    this.#handlers = handlers;
    let timer = null;
    this.#filter.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(() => this.#begin(this.#filter.value.trim()), SEARCH_AFTER_MS);
    });
  }

  /** Shows these heads, newest first; `current` is the id of the one that is open. */
  show(heads, current) {
    const changed = this.#changed(heads, current);
    this.#heads = heads;
    this.#current = current;
    this.#draw();
    if (!this.#search) return;
    for (const id of changed) this.#search.todo.add(id);
    this.#look(this.#search);
  }

  // Those that may have other words than when they were shown last.
  #changed(heads, current) {
    const before = new Map(this.#heads.map((head) => [head.id, head]));
    const open = [this.#current, current];
    const written = new Set(heads.map(({ id }) => id).filter((id) => this.#handlers.isWriting(id)));
    const maybe = new Set([...open, ...written, ...this.#written]);
    this.#written = written;
    const isOther = ({ id, title, updated }) => before.get(id)?.title !== title || before.get(id).updated !== updated;
    return heads.filter((head) => maybe.has(head.id) || isOther(head)).map(({ id }) => id);
  }

  // Looks into all of them for a text; what was looked for before is given up.
  #begin(wanted) {
    this.#search?.stop.abort();
    this.#search = wanted ? { wanted, stop: new AbortController(), isLooking: false, todo: null } : null;
    if (this.#search) this.#look(this.#search);
    else {
      this.#found = null;
      this.#draw();
    }
  }

  // Looks into what is to do, all of them at first, until nothing has changed meanwhile.
  async #look(search) {
    if (search.isLooking) return;
    search.isLooking = true;
    try {
      while (search.todo === null || search.todo.size) {
        const ids = search.todo && [...search.todo];
        search.todo = new Set();
        const found = await this.#handlers.find(search.wanted, { ids, signal: search.stop.signal });
        if (search.stop.signal.aborted) return;
        const others = ids === null ? [] : [...(this.#found ?? [])].filter(([id]) => !ids.includes(id));
        this.#found = new Map([...others, ...found]);
        this.#draw();
      }
    } finally {
      search.isLooking = false;
    }
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
