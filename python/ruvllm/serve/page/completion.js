// Asks for one answer and follows it: text as it comes, then why it ended and what the server measured.

import { ask, errorInStream, ServerError } from "./server.js";
import { eventData } from "./stream.js";

// A prompt that is read within this time is not worth a bar.
const READING_FROM_MS = 500;

/**
 * Streams one answer. `onPiece(text, thinking, calls)` gets each piece, `onReading(share)` how much of a long prompt
 * the server has read. Returns {finish, timings, usage, model,
 * completionId where the server takes feedback for it, and firstTextMs, totalMs by this browser's clock}. An answer
 * without an end is an error, never a short answer.
 */
export async function streamAnswer(request, { signal, onPiece, onReading }) {
  const body = { ...request, stream: true, stream_options: { include_usage: true }, return_progress: true };
  const started = performance.now();
  const answer = { finish: null, timings: null, usage: null, model: null, completionId: null };
  Object.assign(answer, { firstTextMs: null, totalMs: null });
  const response = await ask("v1/chat/completions", { body, signal });
  for await (const data of guarded(eventData(response.body))) {
    if (data === "[DONE]") break;
    const chunk = parsed(data);
    const share = shareRead(chunk);
    if (share !== null && performance.now() - started >= READING_FROM_MS) onReading(share);
    const { text, thinking, calls } = takeChunk(answer, chunk);
    if (!text && !thinking && !calls.length) continue;
    answer.firstTextMs ??= performance.now() - started;
    onPiece(text, thinking, calls);
  }
  answer.totalMs = performance.now() - started;
  if (answer.finish === null) throw new ServerError("broken", "The connection closed before the answer was complete.");
  return answer;
}

function parsed(data) {
  let chunk;
  try {
    chunk = JSON.parse(data);
  } catch {
    throw new ServerError("broken", `The server sent something that is no JSON: ${data.slice(0, 200)}`);
  }
  if (chunk.error) throw errorInStream(chunk.error);
  return chunk;
}

// Of the prompt, from 0 to 1; null where the chunk does not say it.
function shareRead({ prompt_progress: progress }) {
  const share = progress ? progress.processed / progress.total : Number.NaN;
  return Number.isFinite(share) ? Math.min(1, Math.max(0, share)) : null;
}

function takeChunk(answer, chunk) {
  answer.model = chunk.model ?? answer.model;
  answer.usage = chunk.usage ?? answer.usage;
  answer.timings = chunk.timings ?? answer.timings;
  if (chunk.takes_feedback) answer.completionId = chunk.id;
  const choice = chunk.choices?.[0];
  answer.finish = choice?.finish_reason ?? answer.finish;
  const { content, reasoning_content: thinking, tool_calls: calls } = choice?.delta ?? {};
  return { text: content ?? "", thinking: thinking ?? "", calls: calls ?? [] };
}

// A connection that breaks while it is read is an error like the others; stopping on purpose is not.
async function* guarded(events) {
  try {
    yield* events;
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServerError("broken", "The connection to the server broke.");
  }
}
