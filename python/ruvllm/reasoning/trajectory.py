"""What a bank is given and gives back: a request, the steps that were taken for it, and how it went."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ruvllm._checks import Interval, check_number, check_type
from ruvllm.errors import ConfigError

__all__ = ["MAX_CHARACTERS", "MAX_STEPS", "Match", "Step", "Trajectory", "Verdict"]

QUALITY = Interval(0.0, 1.0)
# What one trajectory may have at most: longer ones would make a bank's file as long as anybody likes.
MAX_STEPS = 1000
MAX_CHARACTERS = 200_000


class Verdict(enum.Enum):
    """How a trajectory ended."""

    Success = "success"
    Failure = "failure"
    Partial = "partial"
    Unknown = "unknown"


@dataclass(frozen=True, slots=True)
class Step:
    """What was done, and what came of it.

    Attributes:
        action: What was done: a thought, a call, a draft.
        outcome: What came of it, where that is known.
    """

    action: str
    outcome: str = ""

    def __post_init__(self) -> None:
        _check_text("action", self.action)
        _check_text("outcome", self.outcome)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trajectory:
    """A request and how it was dealt with.

    >>> Trajectory(request="2 + 2?", response="4", verdict=Verdict.Success, quality=1.0).verdict
    <Verdict.Success: 'success'>

    Attributes:
        request: What was asked; the trajectory is found by its meaning.
        steps: What was done for it, in order.
        response: What was answered.
        verdict: How it ended.
        quality: How good it was, from 0 to 1.
    """

    request: str
    steps: tuple[Step, ...] = ()
    response: str = ""
    verdict: Verdict = Verdict.Unknown
    quality: float = 0.5

    def __post_init__(self) -> None:
        _check_text("request", self.request)
        _check_text("response", self.response)
        check_type("verdict", self.verdict, Verdict)
        object.__setattr__(self, "quality", check_number("quality", self.quality, QUALITY))
        object.__setattr__(self, "steps", tuple(self.steps))
        for step in self.steps:
            check_type("a step", step, Step)
        if not self.request.strip():
            raise ConfigError("request is empty; it must have a text to be found by")
        if len(self.steps) > MAX_STEPS:
            raise ConfigError(f"a trajectory has {len(self.steps)} steps; it may have {MAX_STEPS}")
        characters = len(self.request) + len(self.response)
        characters += sum(len(step.action) + len(step.outcome) for step in self.steps)
        if characters > MAX_CHARACTERS:
            raise ConfigError(f"a trajectory has {characters} characters; it may have {MAX_CHARACTERS}")

    def members(self) -> dict[str, Any]:
        """What JSON has of it."""
        return {
            "request": self.request,
            "steps": [[step.action, step.outcome] for step in self.steps],
            "response": self.response,
            "verdict": self.verdict.value,
            "quality": self.quality,
        }

    @classmethod
    def of(cls, members: Mapping[str, Any]) -> "Trajectory":
        """The trajectory that `members` made; a `ValueError`, `TypeError` or `KeyError` for anything else."""
        return cls(
            request=members["request"],
            steps=tuple(Step(action, outcome) for action, outcome in members["steps"]),
            response=members["response"],
            verdict=Verdict(members["verdict"]),
            quality=members["quality"],
        )


@dataclass(frozen=True, slots=True)
class Match:
    """A trajectory that was found.

    Attributes:
        id: What `record` gave for it.
        similarity: From -1 to 1: the cosine of the two embeddings, what all of the bank's share taken off.
        trajectory: What was recorded.
    """

    id: int
    similarity: float
    trajectory: Trajectory


def _check_text(name: str, value: object) -> None:
    check_type(name, value, str)
    try:
        str(value).encode()
    except UnicodeEncodeError as error:
        raise ConfigError(f"{name} has half a character at {error.start}; it must be text") from error
