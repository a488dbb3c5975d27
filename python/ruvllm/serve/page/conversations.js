// Keeps conversations in this browser's database. Heads (title and dates) are apart from bodies, so the list
// shows without reading every message. Where the browser keeps nothing, they live as long as the tab and
// `isKept` says so.

import { excerptOf } from "./search.js";

const DATABASE = "ruvllm";
const HEADS = "heads";
const BODIES = "bodies";

/** The store of all conversations. */
export class Conversations {
  #database;
  #loose = new Map();

  constructor(database) {
    this.#database = database;
  }

  static async open() {
    try {
      return new Conversations(await openDatabase());
    } catch {
      return new Conversations(null);
    }
  }

  /** Whether they outlive the tab. */
  get isKept() {
    return this.#database !== null;
  }

  /** {id, title, updated} of each, newest first. */
  async heads() {
    const loose = [...this.#loose.values()].map(headOf);
    const all = this.#database ? await this.#read(HEADS, (store) => store.getAll()) : loose;
    return all.sort((a, b) => b.updated - a.updated);
  }

  /** A conversation, or null. */
  async load(id) {
    if (!this.#database) return this.#loose.get(id) ?? null;
    return (await this.#read(BODIES, (store) => store.get(id))) ?? null;
  }

  /** Everything, for export. */
  async loadAll() {
    return this.#database ? this.#read(BODIES, (store) => store.getAll()) : [...this.#loose.values()];
  }

  /** Those in which a text stands: a map of ids to what is around it. Looks into those of `ids`, or into all. */
  async find(wanted, { ids = null, signal }) {
    const found = new Map();
    const look = (conversation) => {
      const excerpt = excerptOf(conversation, wanted);
      if (excerpt !== null) found.set(conversation.id, excerpt);
    };
    if (ids === null) await this.#each(look, signal);
    for (const id of ids ?? []) {
      const conversation = signal.aborted ? null : await this.load(id);
      if (conversation) look(conversation);
    }
    return found;
  }

  async save(conversation) {
    if (!this.#database) this.#loose.set(conversation.id, conversation);
    else {
      await this.#write((heads, bodies) => {
        heads.put(headOf(conversation));
        bodies.put(conversation);
      });
    }
  }

  async remove(id) {
    if (!this.#database) this.#loose.delete(id);
    else {
      await this.#write((heads, bodies) => {
        heads.delete(id);
        bodies.delete(id);
      });
    }
  }

  // One after the other: all of them at once might be more than there is room for.
  #each(visit, signal) {
    if (!this.#database) {
      for (const conversation of this.#loose.values()) visit(conversation);
      return Promise.resolve();
    }
    const request = this.#database.transaction(BODIES).objectStore(BODIES).openCursor();
    return new Promise((resolve, reject) => {
      request.onerror = () => reject(request.error);
      request.onsuccess = () => {
        const cursor = request.result;
        if (!cursor || signal.aborted) {
          resolve();
          return;
        }
        visit(cursor.value);
        cursor.continue();
      };
    });
  }

  #read(storeName, request) {
    return settled(request(this.#database.transaction(storeName).objectStore(storeName)));
  }

  #write(change) {
    const transaction = this.#database.transaction([HEADS, BODIES], "readwrite");
    change(transaction.objectStore(HEADS), transaction.objectStore(BODIES));
    return new Promise((resolve, reject) => {
      transaction.oncomplete = () => resolve();
      transaction.onerror = () => reject(transaction.error);
      transaction.onabort = () => reject(transaction.error);
    });
  }
}

const headOf = ({ id, title, updated }) => ({ id, title, updated });

function openDatabase() {
  const request = indexedDB.open(DATABASE, 1);
  request.onupgradeneeded = () => {
    request.result.createObjectStore(HEADS, { keyPath: "id" });
    request.result.createObjectStore(BODIES, { keyPath: "id" });
  };
  return settled(request);
}

function settled(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
