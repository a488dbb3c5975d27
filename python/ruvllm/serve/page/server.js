// Asks the server. One place makes the requests, adds the key and turns whatever goes wrong into a ServerError,
// which says what happened and what the user can do.

import { currentKey } from "./key.js";

const ADVICE = {
  context_length_exceeded:
    "The conversation does not fit into the model's context any more. Begin a new conversation, shorten an " +
    "earlier message with Edit, or ask for fewer tokens in the settings.",
};

/** What went wrong with a request; `kind` is one of the keys of TITLES. */
export class ServerError extends Error {
  constructor(kind, message, { status = null, code = null, retryAfterSeconds = null } = {}) {
    super(message);
    this.name = "ServerError";
    this.kind = kind;
    this.status = status;
    this.code = code;
    this.retryAfterSeconds = retryAfterSeconds;
  }

  /** One line about the kind of trouble. */
  get title() {
    return TITLES[this.kind];
  }

  /** What the user can do about it, where the message alone does not say. */
  get advice() {
    return ADVICE[this.code] ?? null;
  }
}

const TITLES = {
  unreachable: "The server does not answer",
  key: "The server wants a key",
  busy: "The server is busy",
  loading: "The model is still loading",
  failed: "The model could not be loaded",
  refused: "The server refused this request",
  broken: "The answer broke off",
};

/** Asks the server at `path`, relative to where this page came from; anything but a success is thrown. */
export async function ask(path, { body = null, signal = null, method = body ? "POST" : "GET" } = {}) {
  const request = { method, headers: {}, signal, cache: "no-store" };
  const key = currentKey();
  if (key) request.headers.Authorization = `Bearer ${key}`;
  if (body) {
    request.headers["Content-Type"] = "application/json";
    request.body = JSON.stringify(body);
  }
  const response = await send(new URL(path, document.baseURI), request);
  if (!response.ok) throw await errorOf(response);
  return response;
}

async function send(address, request) {
  try {
    return await fetch(address, request);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServerError("unreachable", "No connection. Is `ruvllm serve` running, and is the network up?");
  }
}

async function errorOf(response) {
  const text = await response.text();
  const { message, code, hasFailed } = described(text);
  const retryAfter = Number.parseFloat(response.headers.get("Retry-After") ?? "");
  const kind = hasFailed ? "failed" : kindOf(response.status);
  return new ServerError(kind, message ?? `The server answered ${response.status} ${response.statusText}.`, {
    status: response.status,
    code,
    retryAfterSeconds: Number.isFinite(retryAfter) ? retryAfter : null,
  });
}

// Errors are {"error": {...}}; `/health` says {"status": "failed", "reason": "..."} for a model that will not load.
function described(text) {
  try {
    const { error, status, reason } = JSON.parse(text);
    const said = error?.message ?? reason;
    const message = typeof said === "string" ? said : null;
    return { message, code: error?.code ?? null, hasFailed: status === "failed" };
  } catch {
    return { message: text.trim().slice(0, 500) || null, code: null, hasFailed: false };
  }
}

function kindOf(status) {
  if (status === 401) return "key";
  if (status === 429) return "busy";
  if (status === 503) return "loading";
  return status >= 500 ? "broken" : "refused";
}

/** The error that the server wrote into a stream that had begun. */
export function errorInStream({ message, code = null }) {
  return new ServerError("broken", message ?? "The server did not say why.", { code });
}

/**
 * The models that the server offers, as {id, parent, context, loading}; an adapter's parent is its model, a model has
 * none. `context` is how many tokens fit, null where the server does not say: it may not have loaded the model yet.
 * `loading` is the share that is loaded, "" where that is not told, null where nothing is being loaded.
 */
export async function listModels() {
  const { data } = await (await ask("v1/models")).json();
  // One that is on its way to the server answers nobody yet.
  const here = data.filter(({ status }) => status?.value !== "downloading");
  const ids = new Set(here.map(({ id }) => id));
  return here.map(({ id, parent, max_model_len: context = null, status }) => {
    // Other servers say other things there; what is nobody's adapter is a model.
    return { id, parent: parent !== id && ids.has(parent) ? parent : null, context, loading: loadingOf(status) };
  });
}

function loadingOf(status) {
  if ((status?.value ?? status) !== "loading") return null;
  const share = status.progress?.value;
  return Number.isFinite(share) ? `${Math.floor(share * 100)} %` : "";
}
