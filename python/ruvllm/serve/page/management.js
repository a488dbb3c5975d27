// What the server is asked of its models by those who may change which are there: how each stands, what may be done,
// and to do it. Shows nothing.

import { ask } from "./server.js";

const NOT_TOLD = "This server does not say that models can be loaded or fetched over it.";

/**
 * How the models stand, as {id, isHere, value, share, totalBytes, reason}; one that is on its way to the server, or
 * was, is not here. `share` is what is loaded or fetched of it, null where nobody says; `reason` why it could not be.
 */
export async function modelStates() {
  const { data } = await (await ask("v1/models")).json();
  return data.filter(({ parent }) => !parent).map(({ id, is_here: isHere = true, status }) => {
    const { done = 0, total: totalBytes = 0 } = status?.progress?.[id] ?? {};
    const share = totalBytes ? done / totalBytes : (status?.progress?.value ?? null);
    const reason = status?.failed ? (status.reason ?? "The server does not say why.") : null;
    return { id, isHere, value: status?.value ?? "loaded", share, totalBytes, reason };
  });
}

/**
 * Why the key that is given may not load models, and why none are fetched, null where they may; and whether another
 * key would help, `hasKey`.
 */
export async function refusals() {
  const { model_management: told } = await (await ask("props")).json();
  // Another server says nothing of it, and does not do it.
  if (!told) return { loading: NOT_TOLD, fetching: NOT_TOLD, hasKey: false };
  const { refused: loading, fetching_refused: fetching, has_admin_key: hasKey } = told;
  return { loading, fetching: loading ?? fetching, hasKey };
}

/** Has the server begin to load a model. */
export const loadModel = (model) => ask("models/load", { body: { model } });

/** Has the server give a model up, once no answer needs it. */
export const unloadModel = (model) => ask("models/unload", { body: { model } });

/** Has the server begin to fetch a model. */
export const fetchModel = (model) => ask("models", { body: { model } });

/** Has the server stop fetching a model, or forget that it could not be fetched. */
export const stopFetching = (model) => ask(`models?model=${encodeURIComponent(model)}`, { method: "DELETE" });
