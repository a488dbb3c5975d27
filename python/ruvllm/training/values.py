"""What goes into a fine-tune beside its settings, and what it tells of itself."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ruvllm._checks import Interval, check_integer, check_number, check_type
from ruvllm.errors import ConfigError

__all__ = ["OnProgress", "TokenSample", "TrainingProgress", "TrainingResult", "TrainingSample"]


@dataclass(frozen=True, slots=True, eq=False)
class TrainingSample:
    """One answer that was given, and how good it was.

    >>> TrainingSample(quality=0.9).with_query("Two and two?").with_response("Four.").response
    'Four.'

    Attributes:
        input_embedding: The query as a vector, where somebody has it.
        output_embedding: The response likewise.
        query: What was asked.
        response: What was answered. Trained on is what has both, with a quality above the threshold.
        quality: From 0 to 1.
        latency_ms: How long the answer took.
        token_count: How many tokens it has.
        model_index: Which of several models gave it.
        session_id: The conversation that it belongs to.
    """

    input_embedding: NDArray[np.float32] | None = None
    output_embedding: NDArray[np.float32] | None = None
    query: str | None = None
    response: str | None = None
    quality: float = 1.0
    latency_ms: float = 0.0
    token_count: int = 0
    model_index: int = 0
    session_id: str | None = None

    def __post_init__(self) -> None:
        for name in ("input_embedding", "output_embedding"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _vector(name, getattr(self, name)))
        for name in ("query", "response", "session_id"):
            if getattr(self, name) is not None:
                check_type(name, getattr(self, name), str)
        check_number("quality", self.quality, Interval(0, 1))
        check_number("latency_ms", self.latency_ms, Interval(0, float("inf")))
        for name in ("token_count", "model_index"):
            check_integer(name, getattr(self, name), 0)

    def with_query(self, query: str) -> "TrainingSample":
        """The same with what was asked."""
        return replace(self, query=query)

    def with_response(self, response: str) -> "TrainingSample":
        """The same with what was answered."""
        return replace(self, response=response)

    def with_quality(self, quality: float) -> "TrainingSample":
        """The same with another quality."""
        return replace(self, quality=quality)

    def with_latency(self, latency_ms: float) -> "TrainingSample":
        """The same with how long the answer took."""
        return replace(self, latency_ms=latency_ms)

    def with_token_count(self, token_count: int) -> "TrainingSample":
        """The same with how many tokens the answer has."""
        return replace(self, token_count=token_count)

    def with_model_index(self, model_index: int) -> "TrainingSample":
        """The same with which model answered."""
        return replace(self, model_index=model_index)

    def with_session_id(self, session_id: str) -> "TrainingSample":
        """The same with the conversation that it belongs to."""
        return replace(self, session_id=session_id)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class TokenSample:
    """An answer as the model gave it: its tokens, and those before it.

    Attributes:
        prompt: What the model saw.
        answer: What it said, the token that ended it included.
        quality: From 0 to 1.
    """

    prompt: NDArray[np.uint32]
    answer: NDArray[np.uint32]
    quality: float = 1.0

    def __post_init__(self) -> None:
        for name in ("prompt", "answer"):
            given = np.asarray(getattr(self, name))
            if given.ndim != 1 or not given.size or given.dtype.kind not in "ui" or given.min() < 0:
                raise ConfigError(f"{name} is {given.dtype} {list(given.shape)}; it must be a list of tokens")
            object.__setattr__(self, name, given.astype(np.uint32))
        check_number("quality", self.quality, Interval(0, 1))

    @property
    def num_bytes(self) -> int:
        """Of its tokens."""
        return self.prompt.nbytes + self.answer.nbytes


def _vector(name: str, given: Any) -> NDArray[np.float32]:
    try:
        vector = np.asarray(given, dtype=np.float32)
    except (TypeError, ValueError):
        raise ConfigError(f"{name} is a {type(given).__name__}; it must be a vector of numbers") from None
    if vector.ndim != 1 or not np.isfinite(vector).all():
        raise ConfigError(f"{name} has the shape {list(vector.shape)}; it must be a vector of finite numbers")
    return vector


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingProgress:
    """A step that was taken.

    Attributes:
        step: Which, from 1 on.
        steps: How many there are.
        loss: Of this step's examples before it, a token (of preference pairs: a pair).
        held_out_loss: Of the held-out examples after it, where they were looked at.
        learning_rate: It was taken with.
        gradient_norm: Before clipping.
        tokens: Computed for gradients so far.
        seconds: Trained so far, of all runs that were resumed.
    """

    step: int
    steps: int
    loss: float
    held_out_loss: float | None
    learning_rate: float
    gradient_norm: float
    tokens: int
    seconds: float

    @property
    def tokens_per_second(self) -> float:
        """Of all steps so far."""
        return self.tokens / self.seconds if self.seconds else 0.0


OnProgress: TypeAlias = Callable[[TrainingProgress], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingResult:
    """What a fine-tune came to.

    Attributes:
        adapter: The folder that was written, as `peft` and `llm.adapters.load` take it.
        steps: Taken in all.
        best_step: The one whose adapter was written: the best by the held-out examples, else the last.
        stopped_early: Whether it ended since nothing became better.
        train_loss_before: Of the trained examples, a token (of preference pairs: a pair); of many a sample.
        train_loss_after: The same by what was written.
        held_out_loss_before: Of the held-out examples; `None` without any.
        held_out_loss_after: The same by what was written.
        examples: Trained on.
        held_out: Held out.
        left_out: Not used: too long for any of the answer to stay, or of too low a quality.
        cut: Used without their ends, which were too long.
        parameters: Numbers that the adapter has.
        tokens: Computed for gradients.
        seconds: That training took, looks at the held-out examples included.
        activation_bytes: Most that was held for gradients.
        peak_resident_bytes: Most that the process had in memory; 0 where the system does not tell.
    """

    adapter: Path
    steps: int
    best_step: int
    stopped_early: bool
    train_loss_before: float
    train_loss_after: float
    held_out_loss_before: float | None
    held_out_loss_after: float | None
    examples: int
    held_out: int
    left_out: int
    cut: int
    parameters: int
    tokens: int
    seconds: float
    activation_bytes: int
    peak_resident_bytes: int

    @property
    def tokens_per_second(self) -> float:
        """Of all steps."""
        return self.tokens / self.seconds if self.seconds else 0.0

    def as_dict(self) -> dict[str, Any]:
        """For programs: plain values by name."""
        return {**asdict(self), "adapter": str(self.adapter), "tokens_per_second": self.tokens_per_second}
