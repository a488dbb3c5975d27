// Files that go along with a message: read as text, sent as text. What is no text is refused with a sentence that
// says what can be done.

const MAX_BYTES = 1_000_000;
// Of one message: what a server takes at once, and more than most models can read.
const MAX_FILES = 20;
const MAX_SUM_BYTES = 2_000_000;
const KINDS = { image: "a picture", audio: "a recording", video: "a film" };

/** {name, text, size} of a file. Throws an Error that says why not. */
export async function readTextFile(file) {
  if (file.type === "application/pdf" || /\.pdf$/i.test(file.name)) {
    const ways = "attach its text (pdftotext makes it), or paste it";
    throw new Error(`“${file.name}” is a PDF, which this page cannot read: ${ways}.`);
  }
  if (file.size > MAX_BYTES) {
    const size = `${(file.size / 1e6).toFixed(1)} MB, and a file may have 1 MB`;
    throw new Error(kindRefusal(file) ?? `“${file.name}” has ${size}: attach the part of it that matters.`);
  }
  const text = decoded(await bytesOf(file));
  if (text !== null) return { name: file.name, text, size: file.size };
  throw new Error(kindRefusal(file) ?? `“${file.name}” is no text in UTF-8: save it as that, or paste its text.`);
}

/**
 * Those of `files` that a message takes beside what it has: {taken, reason}, the reason where any was left out. Looks
 * at sizes only, so that a whole folder's files are not read first.
 */
export function withinLimits(files, had) {
  const taken = [];
  let sum = had.reduce((before, { size }) => before + size, 0);
  for (const file of files) {
    // One that is too large by itself is refused for that.
    const size = file.size > MAX_BYTES ? 0 : file.size;
    if (had.length + taken.length >= MAX_FILES || sum + size > MAX_SUM_BYTES) continue;
    taken.push(file);
    sum += size;
  }
  if (taken.length === files.length) return { taken, reason: null };
  const most = `a message may have ${MAX_FILES} files, and ${MAX_SUM_BYTES / 1e6} MB in all`;
  const numLeft = files.length - taken.length;
  const first = files.find((file) => !taken.includes(file)).name;
  const left = numLeft === 1 ? `“${first}” does` : `“${first}” and ${numLeft - 1} more do`;
  return { taken, reason: `${left} not go along, as ${most}: attach the parts that matter.` };
}

// Only a file that is no text is asked for its type: browsers take TypeScript for a film.
function kindRefusal(file) {
  const kind = KINDS[file.type.split("/")[0]];
  return kind ? `“${file.name}” is ${kind}: the model reads text only.` : null;
}

async function bytesOf(file) {
  try {
    return await file.arrayBuffer();
  } catch (error) {
    // A folder is dropped like a file, and cannot be read.
    throw new Error(`“${file.name}” could not be read: ${error.message}`);
  }
}

function decoded(bytes) {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return text.includes("\0") ? null : text;
  } catch {
    return null;
  }
}

/** What is sent for a message: its files, each named and fenced, and what was typed. */
export function sentText({ content, files = [] }) {
  const fenced = files.map(({ name, text }) => {
    const fence = fenceAround(text);
    return `${name}:\n${fence}\n${text.replace(/\n$/, "")}\n${fence}`;
  });
  return [...fenced, content].filter(Boolean).join("\n\n");
}

/** A fence for code that nothing in the text closes. */
export function fenceAround(text) {
  let longest = 2;
  // One after the other: there may be more of them than a function takes arguments.
  for (const [run] of text.matchAll(/`+/g)) longest = Math.max(longest, run.length);
  return "`".repeat(longest + 1);
}

/** The files of a message that was stored or imported; nothing where they are not as they should be. */
export function checkedFiles(stored) {
  const isFile = (file) => typeof file?.name === "string" && typeof file?.text === "string";
  if (!Array.isArray(stored) || !stored.length || !stored.every(isFile)) return undefined;
  return stored.map(({ name, text }) => ({ name, text }));
}
