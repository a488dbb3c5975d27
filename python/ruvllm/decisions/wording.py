"""What a model is shown of a question: the one place that has the words.

The input comes first, so that all questions have it in common; then the question, what may be answered, and
the beginning of the answer. The text is English, as the instructions of most questions are.
"""

from collections.abc import Sequence
from typing import Any

from ruvllm.decisions.questions import Predicate, Question
from ruvllm.text.messages import MessageLike, check_messages

__all__ = ["asked_messages"]


def asked_messages(
    messages: str | Sequence[MessageLike], question: Question, order: Sequence[int]
) -> list[dict[str, Any]]:
    r"""The conversation that asks a question about messages, its labels in an order.

    >>> asked_messages("Hello", Predicate("It is a greeting."), (0, 1))[0]["content"]
    'Hello\n\nAnswer with Yes or No and nothing else.\nQuestion: It is a greeting.'
    """
    asked = check_messages(messages)
    text = _question_text(question, order)
    last = asked[-1]
    if last["role"] == "user":
        # Few templates take two messages of the user's in a row.
        return [*asked[:-1], {**last, "content": f"{last['content']}\n\n{text}"}]
    return [*asked, {"role": "user", "content": text}]


def _question_text(question: Question, order: Sequence[int]) -> str:
    shown = [(question.labels[place], question.descriptions[place]) for place in order]
    lines = [f"Question: {question.instructions}"]
    if isinstance(question, Predicate):
        # First, so that many predicates about one input have it in common: half of what each would have.
        form = f"Answer with {' or '.join(label for label, _ in shown)} and nothing else."
        lines += [f"{label}: {description}" for label, description in shown if description]
        return "\n".join([form, *lines])
    lines.append("Options:")
    lines += [f"- {label}: {description}" if description else f"- {label}" for label, description in shown]
    lines.append("Answer with one of the options and nothing else.")
    return "\n".join(lines)
