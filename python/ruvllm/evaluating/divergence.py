"""How far a model's predictions are from those of a reference, token for token of one text.

What is kept of a place are four numbers. The logits of a chunk are held of both models, of no more than one
chunk, and what is computed of them takes some rows at a time, in 64 bits.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ruvllm.errors import ConfigError, GenerationError
from ruvllm.evaluating.estimate import Estimate, exponential, mean, root
from ruvllm.evaluating.text_scores import Chunks, Report, TextScores

if TYPE_CHECKING:
    from ruvllm.llm import LLM

__all__ = ["Divergence", "RowDifferences", "compare_rows", "compare_text"]

# Logits that are in work at once: of 64 bits, some of them stay in the processor's cache.
LOGITS_AT_ONCE = 1 << 18
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class RowDifferences:
    """What two models say at each of some places.

    Attributes:
        losses: The model's loss of the token that stands there.
        reference_losses: The reference's.
        divergences: The Kullback-Leibler divergence of the model from the reference, in nats.
        same_top: Whether the likeliest token of both is the same.
    """

    losses: Floats
    reference_losses: Floats
    divergences: Floats
    same_top: NDArray[np.bool_]


def compare_rows(
    logits: NDArray[np.float32], reference: NDArray[np.float32], targets: NDArray[np.int64]
) -> RowDifferences:
    """The differences of two models' logits, `[places, vocab]`, at places where `targets` stand."""
    places, width = logits.shape
    found = RowDifferences(
        np.empty(places), np.empty(places), np.empty(places), np.empty(places, dtype=np.bool_)
    )
    step = max(1, LOGITS_AT_ONCE // width)
    for begin in range(0, places, step):
        rows = slice(begin, begin + step)
        ours, theirs = _log_softmax(logits[rows]), _log_softmax(reference[rows])
        wanted = (np.arange(len(ours)), targets[rows])
        found.losses[rows] = -ours[wanted]
        found.reference_losses[rows] = -theirs[wanted]
        found.same_top[rows] = ours.argmax(axis=1) == theirs.argmax(axis=1)
        # What the reference takes for impossible adds nothing, however unlikely it is to the model.
        probabilities = np.exp(theirs)
        differences = np.where(probabilities > 0, theirs - ours, 0.0)
        # Rounding may leave a divergence of nothing a little below it.
        found.divergences[rows] = np.maximum(np.einsum("pv,pv->p", probabilities, differences), 0.0)
    return found


def _log_softmax(logits: NDArray[np.float32]) -> Floats:
    exact = logits.astype(np.float64)
    exact -= exact.max(axis=1, keepdims=True)
    exact -= np.log(np.exp(exact).sum(axis=1, keepdims=True))
    return exact


@dataclass(frozen=True, eq=False)
class Divergence:
    """How far a model is from a reference over a text.

    Attributes:
        reference: The reference's scores.
        scores: The model's.
        divergences: The Kullback-Leibler divergence at each place, `[chunks, scored]`.
        same_top: Whether the likeliest token of both is the same there.
    """

    reference: TextScores
    scores: TextScores
    divergences: Floats
    same_top: NDArray[np.bool_]

    @cached_property
    def mean(self) -> Estimate:
        """The mean divergence, in nats."""
        return mean(self.divergences.ravel())

    @cached_property
    def agreement(self) -> Estimate:
        """The share of places with the same likeliest token."""
        return mean(self.same_top.ravel())

    @cached_property
    def probability_change(self) -> Estimate:
        """The root of the mean square by which the probability of the text's own tokens changed."""
        changes = np.exp(-self.scores.losses) - np.exp(-self.reference.losses)
        return root(mean(changes.ravel() ** 2))

    @cached_property
    def perplexity_ratio(self) -> Estimate:
        """The model's perplexity over the reference's, of the same tokens."""
        return exponential(mean((self.scores.losses - self.reference.losses).ravel()))

    def quantile(self, share: float) -> float:
        """The divergence that a share of the places, from 0 to 1, does not exceed."""
        return float(np.quantile(self.divergences, share))

    def to_json(self) -> dict[str, object]:
        """The figures for programs."""
        return {
            "mean": self.mean.to_json(),
            "median": self.quantile(0.5),
            "quantile_99": self.quantile(0.99),
            "largest": self.quantile(1.0),
            "same_top": self.agreement.to_json(),
            "rms_probability_change": self.probability_change.to_json(),
            "reference_perplexity": self.reference.perplexity.to_json(),
            "perplexity_ratio": self.perplexity_ratio.to_json(),
        }


def compare_text(llm: "LLM", reference: "LLM", chunks: Chunks, report: Report) -> Divergence:
    """The divergence over a text; both models are there, and the logits of one chunk of each."""
    if llm.model_info.vocab_size != reference.model_info.vocab_size:
        raise ConfigError(
            f"the model has {llm.model_info.vocab_size} tokens and the reference "
            f"{reference.model_info.vocab_size}; a reference must have the same vocabulary"
        )
    rows = []
    for index, tokens in enumerate(chunks):
        # A copy, so that what is not scored need not be kept while the reference computes.
        ours = llm.logits(tokens)[chunks.first : -1].copy()
        theirs = reference.logits(tokens)[chunks.first : -1]
        found = compare_rows(ours, theirs, chunks.scored[index])
        if np.isnan(found.divergences).any():
            raise GenerationError(
                f"logits of chunk {index + 1} are not finite, so nothing can be said of them"
            )
        rows.append(found)
        report((index + 1) * len(tokens), chunks.token_ids.size)
    context = chunks.token_ids.shape[1]
    return Divergence(
        TextScores(chunks.scored, np.stack([row.reference_losses for row in rows]), context),
        TextScores(chunks.scored, np.stack([row.losses for row in rows]), context),
        np.stack([row.divergences for row in rows]),
        np.stack([row.same_top for row in rows]),
    )
