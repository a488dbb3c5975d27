// The line below an answer: how fast it came, how soon it began, what of the prompt was in the cache. From what
// the server measured; where it did not say, from this browser's clock, and then the line says so.

const seconds = (milliseconds) => `${(milliseconds / 1000).toFixed(milliseconds < 995 ? 2 : 1)} s`;
const speed = (perSecond) => `${perSecond.toFixed(perSecond < 10 ? 1 : 0)} tokens/s`;

/** [{text, title}] for a finished answer; empty where nothing is known. */
export function answerFacts({ timings, usage, clock }) {
  const facts = timings ? serverFacts(timings) : browserFacts(usage, clock);
  const cached = timings?.cache_n ?? usage?.prompt_tokens_details?.cached_tokens;
  const prompt = timings ? timings.cache_n + timings.prompt_n : usage?.prompt_tokens;
  if (Number.isFinite(cached) && Number.isFinite(prompt)) {
    const title = "Prompt tokens that were computed before and came out of the prefix cache";
    facts.push({ text: `${cached} of ${prompt} prompt tokens cached`, title });
  }
  return facts;
}

const lengthFact = (tokens) => ({ text: `${tokens} token${tokens === 1 ? "" : "s"}`, title: "Length of the answer" });

function serverFacts(timings) {
  const facts = [];
  // The first token's time is the prompt's: of one alone nothing is known.
  if (timings.predicted_per_second > 0) {
    const title = `${timings.predicted_n} tokens in ${seconds(timings.predicted_ms ?? 0)}, measured by the server`;
    facts.push({ text: speed(timings.predicted_per_second), title });
  }
  if (Number.isFinite(timings.predicted_n)) facts.push(lengthFact(timings.predicted_n));
  if (Number.isFinite(timings.prompt_ms)) {
    const title = "Time until the first token, measured by the server";
    facts.push({ text: `first token after ${seconds(timings.prompt_ms)}`, title });
  }
  return facts;
}

function browserFacts(usage, clock) {
  const title = "Measured by this browser, the network included";
  const facts = [];
  const tokens = usage?.completion_tokens;
  const writingMs = clock ? clock.totalMs - clock.firstTextMs : 0;
  if (tokens > 1 && writingMs > 0) facts.push({ text: `about ${speed((tokens - 1) / (writingMs / 1000))}`, title });
  if (Number.isFinite(tokens)) facts.push(lengthFact(tokens));
  const firstText = clock?.firstTextMs;
  if (Number.isFinite(firstText)) facts.push({ text: `first text after ${seconds(firstText)} here`, title });
  return facts;
}

/** What there is to say about how an answer ended, or null where it just ended. */
export function endNote({ finish, content, thinking }) {
  if (finish === "stop" && !content && !thinking) return NOTES.empty;
  return NOTES[finish] ?? (finish === "stop" ? null : NOTES.interrupted);
}

/** Whether the model could go on with an answer: it has begun, and not by its own will ended. */
export function endedEarly({ finish, content }) {
  return content !== "" && !["stop", "tool_calls", "content_filter"].includes(finish);
}

const NOTES = {
  empty: "The model ended its answer at once, without a word.",
  length: "The answer reached its token limit (max tokens in the settings).",
  stopped: "You stopped this answer.",
  broken: "This answer broke off.",
  tool_calls: "The model waits for what its calls come to; this page runs no tools.",
  content_filter: "The server held the rest of this answer back.",
  edited: "You edited this answer.",
  interrupted: "The page was closed before this answer was complete.",
};
