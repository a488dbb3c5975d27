// Copying a selection of the page that has formulas in it gives them as they were written, not as a row of signs.

import { element } from "./dom.js";

const FORMULA = "math.formula";

/** Sees to that for the whole page. */
export function copyFormulasAsWritten() {
  document.addEventListener("copy", (event) => {
    const selection = document.getSelection();
    // What is selected in a field is text already.
    if (!selection?.rangeCount || selection.isCollapsed || event.target.closest?.("input, textarea")) return;
    const copied = withWholeFormulas(selection.getRangeAt(0)).cloneContents();
    const formulas = copied.querySelectorAll(FORMULA);
    if (!formulas.length) return;
    event.preventDefault();
    const box = element("div", { class: "visually-hidden", "aria-hidden": "true" });
    box.append(copied);
    event.clipboardData.setData("text/html", new XMLSerializer().serializeToString(box));
    for (const formula of formulas) formula.replaceWith(writtenOf(formula));
    // Only what is part of the page has a text with its line ends.
    document.body.append(box);
    event.clipboardData.setData("text/plain", box.innerText);
    box.remove();
  });
}

// On the page it has no line ends of its own: those that nobody saw must not come along.
const writtenOf = (formula) => formula.getAttribute("data-written").replace(/\s+/g, " ");

// A half of a formula cannot be given back: one that is touched comes whole.
function withWholeFormulas(selected) {
  const range = selected.cloneRange();
  const formulaOf = (node) => (node.nodeType === Node.ELEMENT_NODE ? node : node.parentElement)?.closest(FORMULA);
  const [first, last] = [formulaOf(range.startContainer), formulaOf(range.endContainer)];
  if (first) range.setStartBefore(first);
  if (last) range.setEndAfter(last);
  return range;
}
