"""Two models on the same text and questions, pair by pair: most of what chance does to both cancels out."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ruvllm.errors import ConfigError
from ruvllm.evaluating.estimate import Estimate, exponential, mean

if TYPE_CHECKING:
    from ruvllm.evaluating.evaluation import Evaluation

__all__ = ["Comparison"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How the second model differs from the first; `None` where there was nothing to compare.

    Attributes:
        perplexity_ratio: The second's perplexity over the first's.
        divergence_difference: By how much the second is farther from the reference, in nats.
        accuracy_difference: By how much the second answers more rightly.
        accuracy_by_length_difference: The same by likelihoods of a character.
    """

    perplexity_ratio: Estimate | None = None
    divergence_difference: Estimate | None = None
    accuracy_difference: Estimate | None = None
    accuracy_by_length_difference: Estimate | None = None

    @classmethod
    def of(cls, first: "Evaluation", second: "Evaluation") -> "Comparison":
        """The difference of two evaluations of the same text or questions; any other is a `ConfigError`."""
        found: dict[str, Estimate] = {}
        if first.text and second.text:
            if first.text.context != second.text.context:
                raise ConfigError(
                    f"the text was read in chunks of {first.text.context} and of {second.text.context} tokens"
                )
            if not np.array_equal(first.text.token_ids, second.text.token_ids):
                raise ConfigError(
                    "the two models read the text in other tokens, of which perplexities are not comparable"
                )
            losses = (second.text.losses - first.text.losses).ravel()
            found["perplexity_ratio"] = exponential(mean(losses))
            if first.divergence and second.divergence:
                farther = second.divergence.divergences - first.divergence.divergences
                found["divergence_difference"] = mean(farther.ravel())
        if first.choices and second.choices:
            if first.choices.right.size != second.choices.right.size:
                raise ConfigError("the two models answered other questions")
            for name, ours, theirs in (
                ("accuracy_difference", first.choices.right, second.choices.right),
                (
                    "accuracy_by_length_difference",
                    first.choices.right_by_length,
                    second.choices.right_by_length,
                ),
            ):
                found[name] = mean(theirs.astype(np.float64) - ours)
        return cls(**found)

    def to_json(self) -> dict[str, object]:
        """The figures for programs."""
        names = (
            "perplexity_ratio",
            "divergence_difference",
            "accuracy_difference",
            "accuracy_by_length_difference",
        )
        values = {name: getattr(self, name) for name in names}
        return {name: value.to_json() for name, value in values.items() if value is not None}
