// The answer to one typed question: its probabilities as bars, the likeliest set off.

import { element, svgElement } from "./dom.js";

const percent = (share) => `${(share * 100).toFixed(share < 0.0995 || share > 0.9995 ? 1 : 0)} %`;

/** What an answer of `/v1/decisions` shows: a line of words where there is one, and a bar for each label. */
export function answerView(answer) {
  const { line, bars } = parts(answer);
  const likeliest = Math.max(...bars.map(([, share]) => share));
  const rows = bars.map(([label, share]) => barView(label, share, share === likeliest));
  return [line && element("p", { class: "hint" }, line), element("dl", { class: "bars" }, ...rows)].filter(Boolean);
}

function parts({ type, probability, probabilities, score }) {
  if (type === "predicate") return { line: null, bars: [["Yes", probability], ["No", 1 - probability]] };
  if (type === "choice") return { line: null, bars: probabilities.map((one) => [String(one.value), one.probability]) };
  if (type === "score") {
    return { line: `Score ${score.toFixed(2)}`, bars: probabilities.map((one) => [one.label, one.probability]) };
  }
  return { line: "The server abstains: no answer is sure enough.", bars: [] };
}

function barView(label, share, isLikeliest) {
  const length = svgElement("rect", { width: (share * 100).toFixed(2), height: "4" });
  const attributes = { class: "bar", viewBox: "0 0 100 4", preserveAspectRatio: "none", "aria-hidden": "true" };
  const bar = svgElement("svg", attributes, length);
  return element("div", { class: isLikeliest ? "bar-row likeliest" : "bar-row" },
    element("dt", {}, label), element("dd", {}, percent(share)), bar);
}
