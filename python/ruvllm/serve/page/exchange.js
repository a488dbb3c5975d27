// Conversations out to a file and in from one.

import { announce } from "./announce.js";
import { archiveText, readArchive } from "./archive.js";
import { tell } from "./dialogs.js";
import { byId, element, iconButton } from "./dom.js";

/** The two buttons; `onImported()` after conversations came in. */
export function exchangeButtons(store, onImported) {
  const input = byId("import-file");
  input.addEventListener("change", async () => {
    const [file] = input.files;
    input.value = "";
    if (file) await importFile(store, file, onImported);
  });
  return [
    iconButton("download", "Export all conversations", () => exportAll(store)),
    iconButton("upload", "Import conversations", () => input.click()),
  ];
}

async function exportAll(store) {
  const blob = new Blob([archiveText(await store.loadAll())], { type: "application/json" });
  const address = URL.createObjectURL(blob);
  const day = new Date().toISOString().slice(0, 10);
  element("a", { href: address, download: `ruvllm-conversations-${day}.json` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

async function importFile(store, file, onImported) {
  try {
    const conversations = readArchive(await file.text());
    for (const conversation of conversations) await store.save(conversation);
    announce(`${conversations.length} conversations imported.`);
  } catch (error) {
    tell("Nothing was imported", error.message);
  }
  onImported();
}
