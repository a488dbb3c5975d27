// What went wrong, in the conversation: the server's own words, what can be done, and a button to try again.

import { textButton } from "./buttons.js";
import { element } from "./dom.js";
import { icon } from "./icons.js";

/**
 * A card about a ServerError. `onRetry` asks again, `onNew` begins a new conversation. Where the server said how
 * long to wait, the button counts down; where it is loading, the caller retries and `waiting` says so.
 */
export function troubleCard(error, { onRetry, onNew, waiting = false }) {
  const retry = textButton("Try again", onRetry, { iconName: "again", kind: "primary" });
  const buttons = element("div", { class: "card-buttons" }, retry);
  if (error.code === "context_length_exceeded") {
    buttons.append(textButton("New conversation", onNew, { iconName: "plus" }));
  }
  const parts = [
    element("p", { class: "card-title" }, icon("warning"), error.title),
    element("p", {}, error.message),
    error.advice && element("p", {}, error.advice),
    waiting ? element("p", {}, "Your message is sent as soon as the model is ready.") : null,
    buttons,
  ];
  const card = element("section", { class: "card trouble", role: "alert" }, ...parts);
  if (error.retryAfterSeconds > 0) countDown(retry, Math.ceil(error.retryAfterSeconds));
  return card;
}

function countDown(button, seconds) {
  const label = (left) => (left > 0 ? `Try again in ${left} s` : "Try again");
  button.disabled = seconds > 0;
  button.lastChild.textContent = label(seconds);
  if (seconds > 0) setTimeout(() => countDown(button, seconds - 1), 1000);
}

/** A card for a message that has no answer, after a reload or a stop. */
export function unansweredCard(onRetry) {
  const again = textButton("Ask again", onRetry, { iconName: "again", kind: "primary" });
  return element("section", { class: "card" },
    element("p", {}, "This message has no answer yet."), element("div", { class: "card-buttons" }, again));
}
