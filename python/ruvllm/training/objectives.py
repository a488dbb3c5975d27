"""What a step makes more likely, as weights on log-probabilities: the engine knows nothing else.

    answers      the loss of a token is -log p(token), the mean over all tokens of a step
    a teacher    the same with several tokens in a place, each with the teacher's probability as its share
    preferences  -log sigmoid(margin) of a pair, where
                 margin = beta * (log p(chosen) - log p0(chosen) - log p(rejected) + log p0(rejected))

and p0 is the model without the adapter. The gradient of the last is beta * sigmoid(-margin) times that of
log p(rejected) - log p(chosen): once the margin is known, its pairs are examples with shares of either sign.
"""

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

import ruvllm._native as _native
from ruvllm.errors import TrainingError
from ruvllm.training.encoding import Example

__all__ = ["AnswerObjective", "Objective", "PreferenceObjective", "reference_log_probs"]


class Objective(Protocol):
    """Examples by number, and what is wanted of them."""

    def __len__(self) -> int:
        """How many examples there are."""

    def tokens_of(self, item: int) -> int:
        """How many tokens an example costs."""

    def accumulate(self, training: "_native.Training", items: Sequence[int], *, recompute: bool) -> float:
        """Add up the gradients of examples; gives their losses' sum."""

    def losses(self, training: "_native.Training", items: Sequence[int]) -> float:
        """The same sum without gradients."""

    def weight(self, items: Sequence[int]) -> float:
        """What the sum is divided by: learned tokens, or pairs."""


class AnswerObjective:
    """Examples of answers, each place with one token or with several of a teacher's."""

    def __init__(self, examples: Sequence[Example]) -> None:
        self._examples = list(examples)

    def __len__(self) -> int:
        return len(self._examples)

    def tokens_of(self, item: int) -> int:
        """Its tokens."""
        return len(self._examples[item].tokens)

    def accumulate(self, training: "_native.Training", items: Sequence[int], *, recompute: bool) -> float:
        """Add up their gradients."""
        given = [_native_example(self._examples[item]) for item in items]
        return float(sum(training.accumulate(given, recompute=recompute)))

    def losses(self, training: "_native.Training", items: Sequence[int]) -> float:
        """Their losses' sum."""
        return -sum(_log_prob(training, self._examples[item]) for item in items)

    def weight(self, items: Sequence[int]) -> float:
        """The tokens that are learned."""
        return float(sum(self._examples[item].answer_tokens for item in items))


class PreferenceObjective:
    """Pairs of answers; `references` are the log-probabilities by the model itself, `[pairs, 2]`."""

    def __init__(
        self, pairs: Sequence[tuple[Example, Example]], references: NDArray[np.float64], beta: float
    ) -> None:
        self._pairs = list(pairs)
        self._references = references
        self._beta = beta

    def __len__(self) -> int:
        return len(self._pairs)

    def tokens_of(self, item: int) -> int:
        """Those of both."""
        return sum(len(one.tokens) for one in self._pairs[item])

    def accumulate(self, training: "_native.Training", items: Sequence[int], *, recompute: bool) -> float:
        """Add up their gradients: first how likely both are now, then what that weighs."""
        total = 0.0
        for item in items:
            margin = self._margin(training, item)
            pull = self._beta * _sigmoid(-margin)
            chosen, rejected = self._pairs[item]
            weighted = [_native_example(chosen, pull), _native_example(rejected, -pull)]
            training.accumulate(weighted, recompute=recompute)
            total += _softplus(-margin)
        return total

    def losses(self, training: "_native.Training", items: Sequence[int]) -> float:
        """Their losses' sum."""
        return sum(_softplus(-self._margin(training, item)) for item in items)

    def weight(self, items: Sequence[int]) -> float:
        """The pairs."""
        return float(len(items))

    def _margin(self, training: "_native.Training", item: int) -> float:
        chosen, rejected = (_log_prob(training, one) for one in self._pairs[item])
        by_chosen, by_rejected = self._references[item]
        return self._beta * float(chosen - by_chosen - rejected + by_rejected)


def reference_log_probs(
    training: "_native.Training", pairs: Sequence[tuple[Example, Example]]
) -> NDArray[np.float64]:
    """How likely the answers are to the model itself: the adapter must do nothing yet."""
    return np.array([[_log_prob(training, one) for one in pair] for pair in pairs], np.float64)


def _log_prob(training: "_native.Training", example: Example) -> float:
    """The sum of the log-probabilities of an example, each times its share."""
    found = training.log_probs(example.tokens, example.ids)
    # A token that does not count may be impossible, and 0 times infinity is no number.
    counted = np.where(example.shares != 0, found.astype(np.float64), 0.0)
    total = float((counted * example.shares).sum())
    if not math.isfinite(total):
        raise TrainingError("a log-probability is not finite; lower learning_rate")
    return total


def _native_example(
    example: Example, factor: float = 1.0
) -> tuple[NDArray[np.uint32], NDArray[np.uint32], NDArray[np.float32]]:
    shares = example.shares if factor == 1.0 else (example.shares * np.float32(factor)).astype(np.float32)
    return example.tokens, example.ids, shares


def _sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value)) if value >= 0 else 1 - 1 / (1 + math.exp(value))


def _softplus(value: float) -> float:
    """log(1 + e^value), without ever making a number that is too large."""
    return max(value, 0.0) + math.log1p(math.exp(-abs(value)))
