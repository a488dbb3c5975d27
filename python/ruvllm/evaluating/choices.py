"""Questions with several answers, of which one is right: which of them is likeliest to the model?

Nothing is generated. Each answer stands behind its question as text, and what is measured is the likelihood
of its tokens there: of all together, and by their length in characters, so that a long answer is not wrong
for being long.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import ruvllm.whole_file as whole_file
from ruvllm.errors import ConfigError, ContextLengthError, IoError
from ruvllm.evaluating.estimate import Estimate, mean
from ruvllm.evaluating.text_scores import Report
from ruvllm.text.common_texts import common_length

if TYPE_CHECKING:
    from ruvllm.llm import LLM

__all__ = ["ChoiceQuestion", "ChoiceScores", "read_questions", "score_choices"]

# A line that is longer is none of a file of questions.
MAX_LINE_BYTES = 1 << 20
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceQuestion:
    """A question, or any beginning of a text, and how it could go on.

    Attributes:
        question: What the model reads.
        choices: What could follow, at least two.
        answer: Which of them is right, from 0.
    """

    question: str
    choices: tuple[str, ...]
    answer: int

    def __post_init__(self) -> None:
        if not self.question:
            raise ConfigError("the question is empty; there must be something before the choices")
        if len(self.choices) < 2 or not all(self.choices):
            raise ConfigError("choices must be two texts or more, none of them empty")
        if not 0 <= self.answer < len(self.choices):
            raise ConfigError(f"answer is {self.answer}; it must be from 0 to {len(self.choices) - 1}")

    @classmethod
    def of(cls, row: object) -> "ChoiceQuestion":
        """What a line says: `question` or `context` or both, `choices`, and `answer`.

        The answer is one of the choices, its place from 0, or its letter from A.
        """
        if not isinstance(row, Mapping):
            raise ConfigError("it must be an object with question, choices and answer")
        parts = [row[name] for name in ("context", "question") if row.get(name) is not None]
        if not parts or not all(isinstance(part, str) for part in parts):
            raise ConfigError("question (or context, or both) must be a text")
        choices = row.get("choices")
        if not isinstance(choices, list) or not all(isinstance(one, str) for one in choices):
            raise ConfigError("choices must be a list of texts")
        return cls(
            question="\n".join(parts), choices=tuple(choices), answer=_place(row.get("answer"), choices)
        )

    def text(self, choice: str) -> str:
        """The question with a choice behind it, and one space between the two where there is none."""
        apart = self.question[-1].isspace() or choice[0].isspace()
        return self.question + ("" if apart else " ") + choice


@dataclass(frozen=True, eq=False)
class ChoiceScores:
    """What a model said to each question.

    Attributes:
        right: Whether the likeliest choice was the right one.
        right_by_length: The same by the log-likelihood of a character.
    """

    right: NDArray[np.bool_]
    right_by_length: NDArray[np.bool_]

    @cached_property
    def accuracy(self) -> Estimate:
        """The share of right answers."""
        return mean(self.right)

    @cached_property
    def accuracy_by_length(self) -> Estimate:
        """The same where likelihoods are taken by their length."""
        return mean(self.right_by_length)

    def to_json(self) -> dict[str, object]:
        """The figures for programs."""
        return {
            "accuracy": self.accuracy.to_json(),
            "accuracy_by_length": self.accuracy_by_length.to_json(),
            "questions": self.right.size,
        }


def read_questions(path: Path) -> list[ChoiceQuestion]:
    """The questions of a file, an object a line; a line that is none is refused by its number."""
    try:
        with whole_file.open_regular(path) as file:
            questions = [_question(line, number) for number, line in _lines(file)]
    except OSError as error:
        if isinstance(error, IoError):
            raise
        raise IoError(f"{path}: {error.strerror or error}") from error
    if not questions:
        raise ConfigError(f"{path} has no question")
    return questions


def score_choices(llm: "LLM", questions: Sequence[ChoiceQuestion], report: Report) -> ChoiceScores:
    """What a model says to questions; what the choices of one have before them is computed once."""
    found = np.empty((2, len(questions)), dtype=np.bool_)
    for index, asked in enumerate(questions):
        try:
            likelihoods = _likelihoods(llm, asked)
        except (ConfigError, ContextLengthError) as error:
            raise ConfigError(f"question {index + 1}: {error.message}") from error
        lengths = [len(choice) for choice in asked.choices]
        found[0, index] = likelihoods.argmax() == asked.answer
        found[1, index] = (likelihoods / lengths).argmax() == asked.answer
        report(index + 1, len(questions))
    return ChoiceScores(found[0], found[1])


def _likelihoods(llm: "LLM", asked: ChoiceQuestion) -> NDArray[np.float64]:
    tokens = [llm.tokenize(asked.text(choice), parse_special=False) for choice in asked.choices]
    # A token may span the question's end and the choice's beginning: it is measured, then.
    shared = common_length([llm.tokenize(asked.question, parse_special=False), *tokens])
    shared = min(shared, *(len(one) - 1 for one in tokens))
    if shared < 1:
        raise ConfigError("it has no token before its choices; put more text before them")
    losses = llm.score_endings(tokens[0][:shared], [one[shared:] for one in tokens])
    return np.array([-loss.sum(dtype=np.float64) for loss in losses])


def _place(answer: Any, choices: Sequence[str]) -> int:
    if isinstance(answer, str):
        if answer in choices:
            return list(choices).index(answer)
        if len(answer) == 1 and answer in LETTERS[: len(choices)]:
            return LETTERS.index(answer)
    elif isinstance(answer, int) and not isinstance(answer, bool):
        return answer
    raise ConfigError(
        f"answer is {answer!r:.80}; it must be one of the choices, its place from 0, or its letter from A"
    )


def _lines(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    number = 0
    while line := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(line) > MAX_LINE_BYTES:
            raise ConfigError(f"line {number} is longer than {MAX_LINE_BYTES} bytes; it must be one question")
        if line.strip():
            yield number, line


def _question(line: bytes, number: int) -> ChoiceQuestion:
    try:
        row = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"line {number} is no JSON: {error}") from None
    try:
        return ChoiceQuestion.of(row)
    except ConfigError as error:
        raise ConfigError(f"line {number}: {error.message}") from None
