// What stands in the place of an answer before its first word: how long it has been, by this browser's clock, and
// whether the server is still loading the model. How much of the prompt it has read
// is a bar of the answer's own.

const EVERY_MS = 1000;
const FROM_SECONDS = 2;

/** Shows it until the wait `isOver()`; `loading()` gives how the model stands, or null once it is there. */
export async function tellWaiting({ isOver, loading, show }) {
  const since = performance.now();
  let state = "";
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
    const seconds = Math.round((performance.now() - since) / 1000);
    // A model that is there stays there: it is not asked for again.
    if (state !== null && seconds >= FROM_SECONDS) state = await loading();
    if (isOver()) return;
    if (seconds >= FROM_SECONDS) show(`${state ?? "No word yet"} after ${seconds} s`);
  }
}
