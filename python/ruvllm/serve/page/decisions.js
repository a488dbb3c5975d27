// The decisions playground: an input, typed questions about it, and how likely each answer is. What is typed stays
// while the page is open.

import { iconButton, textButton } from "./buttons.js";
import { answerView } from "./decision_view.js";
import { openDialog } from "./dialogs.js";
import { element, randomId } from "./dom.js";
import { ask } from "./server.js";

const KINDS = [["predicate", "Yes or no"], ["choice", "Choice"], ["score", "Score"]];
const LABELS = { choice: "Options", score: "Levels, from low to high" };
const FIRST_QUESTIONS = [
  { kind: "predicate", instructions: "The customer complains.", labels: "" },
  { kind: "choice", instructions: "Which team?", labels: "billing: Payments and invoices.\nshipping\nsales" },
];
const typed = {
  input: "My card was charged twice, and nobody answers the phone.",
  allOrders: false,
  questions: FIRST_QUESTIONS,
};

/** Opens the playground; `model()` gives the name of the model to ask. */
export function openDecisions({ model }) {
  const rows = element("div", {});
  const alert = element("p", { class: "hint problem", role: "alert" });
  const views = typed.questions.map((question) => new QuestionView(question, remove));
  const decide = element("button", { type: "submit", class: "text-button primary" }, "Decide");
  const add = textButton("Add a question", () => {
    typed.questions = [...typed.questions, { kind: "predicate", instructions: "", labels: "" }];
    views.push(new QuestionView(typed.questions.at(-1), remove));
    draw();
    views.at(-1).focus();
  }, { iconName: "plus" });

  function remove(view) {
    views.splice(views.indexOf(view), 1);
    typed.questions = views.map(({ question }) => question);
    draw();
    add.focus();
  }

  function draw() {
    rows.replaceChildren(...views.map(({ node }) => node));
    decide.disabled = !views.length;
  }

  async function submit(event) {
    event.preventDefault();
    decide.disabled = true;
    alert.textContent = "";
    for (const view of views) view.show(null);
    try {
      const body = { model: await model(), input: typed.input, questions: views.map((view) => view.asked()) };
      if (typed.allOrders) body.orders = "all";
      const { answers } = await (await ask("v1/decisions", { body })).json();
      views.forEach((view, index) => view.show(answers[index] ?? null));
    } catch (error) {
      alert.textContent = `${error.title ?? "This page made a mistake"}: ${error.message}`;
    }
    decide.disabled = false;
  }

  draw();
  const form = element("form", { class: "dialog-form", onsubmit: submit }, inputField(), rows, ordersField(), alert,
    element("div", { class: "dialog-buttons" }, add, decide));
  const note = element("p", { class: "hint" },
    "How likely each answer is, by the model’s own probabilities; nothing is written. Programs ask /v1/decisions.");
  openDialog("Decisions", [note, form], { kind: "wide" });
}

function inputField() {
  const area = element("textarea", { id: "decision-input", rows: "4" });
  area.value = typed.input;
  area.addEventListener("input", () => (typed.input = area.value));
  return element("div", { class: "field" }, element("label", { for: "decision-input" }, "Input"), area);
}

function ordersField() {
  const box = element("input", { id: "decision-orders", type: "checkbox" });
  box.checked = typed.allOrders;
  box.addEventListener("change", () => (typed.allOrders = box.checked));
  const label = element("label", { for: "decision-orders" }, "Show options in all orders, and take the mean");
  return element("div", { class: "check" }, box, label);
}

/** One question: what is asked, and below it the answer. */
class QuestionView {
  #answer = element("div", { class: "decision-answer", "aria-live": "polite" });
  #instructions = element("input", { id: `question-${randomId()}`, type: "text", autocomplete: "off" });

  constructor(question, onRemove) {
    this.question = question;
    const change = (name, field) => field.addEventListener("input", () => (question[name] = field.value));
    const options = KINDS.map(([kind, name]) => element("option", { value: kind }, name));
    const picker = element("select", { class: "model-picker", "aria-label": "Kind of question" }, ...options);
    const area = element("textarea", { id: `labels-${randomId()}`, rows: "3" });
    const labelsName = element("label", { for: area.id });
    const hint = element("p", { class: "hint" }, "One a line; what follows a colon says when it is meant.");
    const labels = element("div", { class: "field" }, labelsName, area, hint);
    const showLabels = () => {
      labels.hidden = !(question.kind in LABELS);
      labelsName.textContent = LABELS[question.kind] ?? "";
    };
    Object.assign(picker, { value: question.kind });
    Object.assign(area, { value: question.labels });
    Object.assign(this.#instructions, { value: question.instructions });
    change("kind", picker);
    change("labels", area);
    change("instructions", this.#instructions);
    picker.addEventListener("input", showLabels);
    showLabels();
    const bin = iconButton("bin", "Remove the question", () => onRemove(this));
    const head = element("div", { class: "decision-head" },
      element("label", { for: this.#instructions.id }, "Question"), picker, bin);
    this.node = element("section", { class: "decision-question" }, head, this.#instructions, labels, this.#answer);
  }

  focus() {
    this.#instructions.focus();
  }

  /** The question as the interface has it. */
  asked() {
    const { kind, instructions, labels } = this.question;
    const lines = labels.split("\n").map((line) => line.trim()).filter(Boolean).map(described);
    const own = {
      choice: () => ({ choices: lines.map(([value, description]) => ({ value, description })) }),
      score: () => ({ levels: lines.map(([label, description]) => ({ label, description })) }),
    }[kind];
    return { type: kind, instructions, ...own?.() };
  }

  show(answer) {
    this.#answer.replaceChildren(...(answer ? answerView(answer) : []));
  }
}

// "billing: Payments." is a value and what it means; JSON leaves out what is undefined.
function described(line) {
  const [, value, description] = /^(.*?)(?::\s+(.*))?$/.exec(line);
  return [value, description];
}
