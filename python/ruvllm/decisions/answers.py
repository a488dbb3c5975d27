"""What comes of questions: probabilities, and what they lead to."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from ruvllm.decisions.questions import Choice, Predicate, Question, Score
from ruvllm.outputs import Usage

__all__ = ["Answer", "ChoiceAnswer", "Decision", "PredicateAnswer", "ScoreAnswer", "answer_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PredicateAnswer:
    """How likely it is so; `abstained` where that is too close to a half."""

    probability: float
    name: str | None = None
    abstained: bool = False

    @property
    def confidence(self) -> float:
        """The probability of what is likelier."""
        return max(self.probability, 1.0 - self.probability)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceAnswer:
    """The likeliest option, and the probability of each in the order of the question."""

    choice: str | bool
    probabilities: tuple[tuple[str | bool, float], ...]
    name: str | None = None
    abstained: bool = False

    @property
    def confidence(self) -> float:
        """The probability of the choice."""
        return max(probability for _, probability in self.probabilities)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreAnswer:
    """The expected value, the probability of each level in the order of the question, and their numbers."""

    score: float
    probabilities: tuple[tuple[str, float], ...]
    values: tuple[float, ...]
    name: str | None = None
    abstained: bool = False

    @property
    def confidence(self) -> float:
        """The probability of the likeliest level."""
        return max(probability for _, probability in self.probabilities)


Answer: TypeAlias = PredicateAnswer | ChoiceAnswer | ScoreAnswer


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The answers in the order of the questions, and the tokens that they took."""

    answers: tuple[Answer, ...]
    usage: Usage

    def __getitem__(self, name: str) -> Answer:
        """The answer to the question of that name; `KeyError` where there is none."""
        for answer in self.answers:
            if answer.name == name:
                return answer
        raise KeyError(name)

    def to_json(self) -> list[dict[str, Any]]:
        """The answers as files and servers write them; one that is abstained from is a refusal."""
        return [_to_json(answer) for answer in self.answers]


def answer_of(question: Question, probabilities: Sequence[float], abstain_below: float) -> Answer:
    """The answer that the probabilities of a question's labels make."""
    abstained = max(probabilities) < abstain_below
    if isinstance(question, Predicate):
        return PredicateAnswer(probability=probabilities[0], name=question.name, abstained=abstained)
    if isinstance(question, Choice):
        best = max(range(len(probabilities)), key=probabilities.__getitem__)
        return ChoiceAnswer(
            choice=question.values[best],
            probabilities=tuple(zip(question.values, probabilities, strict=True)),
            name=question.name,
            abstained=abstained,
        )
    return ScoreAnswer(
        score=_expected(question, probabilities),
        probabilities=tuple(zip(question.labels, probabilities, strict=True)),
        values=question.values,
        name=question.name,
        abstained=abstained,
    )


def _expected(question: Score, probabilities: Sequence[float]) -> float:
    return sum(value * share for value, share in zip(question.values, probabilities, strict=True))


def _to_json(answer: Answer) -> dict[str, Any]:
    if answer.abstained:
        return {"type": "refusal", "name": answer.name}
    if isinstance(answer, PredicateAnswer):
        return {"type": "predicate", "name": answer.name, "probability": answer.probability}
    if isinstance(answer, ChoiceAnswer):
        chances = [{"value": value, "probability": share} for value, share in answer.probabilities]
        own: dict[str, Any] = {"type": "choice", "name": answer.name, "choice": answer.choice}
    else:
        chances = [
            {"value": int(value) if value.is_integer() else value, "label": label, "probability": share}
            for value, (label, share) in zip(answer.values, answer.probabilities, strict=True)
        ]
        own = {"type": "score", "name": answer.name, "score": answer.score}
    return {**own, "confidence": answer.confidence, "probabilities": chances}
