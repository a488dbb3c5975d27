// Conversations out to a file and in from one.

import { announce } from "./announce.js";
import { archiveText, readArchive } from "./archive.js";
import { toolButton } from "./buttons.js";
import { tell } from "./dialogs.js";
import { byId } from "./dom.js";
import { fileNameOf, saveAsFile } from "./download.js";
import { conversationMarkdown } from "./transcript_text.js";

/** The two buttons; `onImported()` after conversations came in. */
export function exchangeButtons(store, onImported) {
  const input = byId("import-file");
  input.addEventListener("change", async () => {
    const [file] = input.files;
    input.value = "";
    if (file) await importFile(store, file, onImported);
  });
  return [
    toolButton("download", "Export", "Export all conversations", () => exportAll(store)),
    toolButton("upload", "Import", "Import conversations", () => input.click()),
  ];
}

/** Saves what is shown of one conversation as Markdown. */
export function saveAsMarkdown(conversation) {
  saveAsFile(`${fileNameOf(conversation.title)}.md`, conversationMarkdown(conversation), "text/markdown");
}

async function exportAll(store) {
  const day = new Date().toISOString().slice(0, 10);
  saveAsFile(`ruvllm-conversations-${day}.json`, archiveText(await store.loadAll()), "application/json");
}

async function importFile(store, file, onImported) {
  let conversations = [];
  let numSaved = 0;
  try {
    conversations = readArchive(await file.text());
    for (const conversation of conversations) {
      await store.save(conversation);
      numSaved += 1;
    }
    announce(`${numSaved} conversations imported.`);
  } catch (error) {
    const some = `Only ${numSaved} of ${conversations.length} conversations were imported`;
    tell(numSaved ? some : "Nothing was imported", error?.message ?? "The browser gives no reason.");
  }
  onImported();
}
