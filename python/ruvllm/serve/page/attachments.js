// The files that wait beside the message field: chosen, dropped on the page, or pasted.

import { announce } from "./announce.js";
import { iconButton } from "./buttons.js";
import { tell } from "./dialogs.js";
import { byId, element } from "./dom.js";
import { readTextFile, withinLimits } from "./text_files.js";

/** `onChange()` after files came or went. */
export class Attachments {
  #list = byId("attachments");
  #files = [];
  #reading = [];
  #onChange;

  constructor(onChange) {
    this.#onChange = onChange;
    const input = byId("attach-files");
    byId("attach-place").append(iconButton("clip", "Attach text files", () => input.click()));
    input.addEventListener("change", () => {
      const files = [...input.files];
      input.value = "";
      this.#add(files);
    });
    byId("message").addEventListener("paste", (event) => {
      const files = [...event.clipboardData.files];
      if (!files.length) return;
      event.preventDefault();
      this.#add(files);
    });
    listenForDrops((files) => this.#add(files));
  }

  get isEmpty() {
    return this.#files.length === 0;
  }

  /** Whether one is still being read: without it the message would not be what it is meant to be. */
  get isReading() {
    return this.#reading.length > 0;
  }

  /** Gives the files away, {name, text} each. */
  take() {
    const files = this.#files.map(({ name, text }) => ({ name, text }));
    this.#set([]);
    return files;
  }

  async #add(files) {
    const { taken, reason } = withinLimits(files, [...this.#files, ...this.#reading]);
    this.#reading.push(...taken);
    this.#draw();
    const results = await Promise.allSettled(taken.map(readTextFile));
    this.#reading = this.#reading.filter((file) => !taken.includes(file));
    const read = results.filter(({ status }) => status === "fulfilled").map(({ value }) => value);
    const refused = results.filter(({ status }) => status === "rejected").map(({ reason }) => reason.message);
    if (reason) refused.push(reason);
    this.#set([...this.#files, ...read]);
    if (read.length) {
      announce(`Attached: ${read.map(({ name }) => name).join(", ")}`);
    }
    if (refused.length) tell("Not attached", refused.join("\n"));
    else byId("message").focus();
  }

  #set(files) {
    this.#files = files;
    this.#draw();
  }

  #draw() {
    const reading = this.#reading.map(({ name }) => {
      return element("li", { class: "attachment" }, element("span", {}, `${name} (being read…)`));
    });
    this.#list.hidden = this.isEmpty && !this.isReading;
    this.#list.replaceChildren(...this.#files.map((file) => this.#item(file)), ...reading);
    this.#onChange();
  }

  #item(file) {
    const remove = iconButton("close", `Remove ${file.name}`, () => {
      this.#set(this.#files.filter((one) => one !== file));
      byId("message").focus();
    });
    return element("li", { class: "attachment" }, element("span", {}, file.name), remove);
  }
}

// Files can be dropped anywhere; without this the browser would leave the page for them.
function listenForDrops(onFiles) {
  const show = (isOver) => document.body.classList.toggle("dropping", isOver);
  const holdsFiles = (event) => event.dataTransfer?.types.includes("Files");
  const isTaken = () => document.querySelector("dialog[open]") === null;
  addEventListener("dragover", (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = isTaken() ? "copy" : "none";
    show(isTaken());
  });
  addEventListener("dragleave", (event) => event.relatedTarget === null && show(false));
  addEventListener("drop", (event) => {
    show(false);
    if (!holdsFiles(event)) return;
    event.preventDefault();
    if (isTaken()) onFiles([...event.dataTransfer.files]);
  });
}
