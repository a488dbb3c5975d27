// The files that wait beside the message field: chosen, dropped on the page, or pasted.

import { announce } from "./announce.js";
import { iconButton } from "./buttons.js";
import { tell } from "./dialogs.js";
import { byId, element } from "./dom.js";
import { readTextFile } from "./text_files.js";

/** `onChange()` after files came or went. */
export class Attachments {
  #list = byId("attachments");
  #files = [];
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

  /** Gives the files away. */
  take() {
    const files = this.#files;
    this.#set([]);
    return files;
  }

  async #add(files) {
    const results = await Promise.allSettled(files.map(readTextFile));
    const read = results.filter(({ status }) => status === "fulfilled").map(({ value }) => value);
    const refused = results.filter(({ status }) => status === "rejected").map(({ reason }) => reason.message);
    if (read.length) {
      this.#set([...this.#files, ...read]);
      announce(`Attached: ${read.map(({ name }) => name).join(", ")}`);
    }
    if (refused.length) tell("Not attached", refused.join("\n"));
    else byId("message").focus();
  }

  #set(files) {
    this.#files = files;
    this.#list.hidden = this.isEmpty;
    this.#list.replaceChildren(...files.map((file) => this.#item(file)));
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
