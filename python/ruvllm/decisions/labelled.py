"""Inputs, questions and their right answers, as files have them: one object a line."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ruvllm.decisions.questions import Choice, Predicate, Question, questions_of
from ruvllm.errors import ConfigError

__all__ = ["Labelled", "input_of"]


@dataclass(frozen=True, slots=True)
class Labelled:
    """Questions about an input, and of each the place of the label that is right."""

    input: str | Sequence[Mapping[str, Any]]
    questions: tuple[Question, ...]
    right: tuple[int, ...]

    @classmethod
    def of(cls, row: object, questions: Sequence[Question] = ()) -> "Labelled":
        """What a line says: `input`, `answers`, and `questions` where not all lines have the same."""
        if not isinstance(row, Mapping) or not isinstance(row.get("answers"), list):
            raise ConfigError("a labelled line is an object with input, questions and a list of answers")
        asked = questions_of(row["questions"]) if "questions" in row else list(questions)
        answers = row["answers"]
        if len(answers) != len(asked):
            raise ConfigError(f"there are {len(answers)} answers to {len(asked)} questions")
        right = tuple(_place(question, one) for question, one in zip(asked, answers, strict=True))
        return cls(input_of(row), tuple(asked), right)


def input_of(row: object) -> str | Sequence[Mapping[str, Any]]:
    """The input of a line: a text, or an object with `input`, which is a text or a list of messages."""
    given = row.get("input") if isinstance(row, Mapping) else row
    if isinstance(given, str) or (isinstance(given, list) and given):
        return given
    raise ConfigError("a line is a text, or an object whose input is a text or a list of messages")


def _place(question: Question, given: object) -> int:
    """Where the right label stands: true or false, an option's value, a level's label."""
    known: Sequence[object] = question.values if isinstance(question, Choice) else question.labels
    if isinstance(question, Predicate):
        known = (True, False)
    for place, value in enumerate(known):
        if value == given and isinstance(value, bool) == isinstance(given, bool):
            return place
    raise ConfigError(f"{given!r:.80} is no answer to {question.instructions!r:.80}: {known!r:.200}")
