"""How likely a text is to a model, as llama.cpp's `perplexity` asks it.

The text is cut into chunks of one length, and what does not fill the last one is left out. Each is read on
its own; where the model wants a token that begins a text, it stands in the place of the chunk's first. What
is scored are the tokens of the second half, each of which has at least half of the chunk before it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ruvllm._checks import check_integer
from ruvllm.errors import ConfigError, GenerationError
from ruvllm.evaluating.estimate import Estimate, exponential, mean

if TYPE_CHECKING:
    from ruvllm.llm import LLM

__all__ = ["Chunks", "EvaluationParams", "Report", "TextScores", "score_text"]

Report: TypeAlias = Callable[[int, int], None]
SHORTEST_CONTEXT = 8
# A loss of so much is that of a number that is none.
NO_LOSS = 1e30


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationParams:
    """How a text is read.

    Attributes:
        context: Tokens of a chunk.
        max_chunks: So many chunks from the text's beginning; `None` is all of it.
    """

    context: int = 512
    max_chunks: int | None = None

    def __post_init__(self) -> None:
        check_integer("context", self.context, SHORTEST_CONTEXT)
        if self.max_chunks is not None:
            check_integer("max_chunks", self.max_chunks, 1)


@dataclass(frozen=True, slots=True)
class Chunks:
    """A text's tokens in chunks, `[chunks, context]`.

    Attributes:
        token_ids: The tokens as models read them.
        first: The index of the last token that is only read: those after it are scored.
    """

    token_ids: NDArray[np.int64]
    first: int

    @classmethod
    def of(cls, llm: "LLM", text: str | Sequence[int], params: EvaluationParams) -> "Chunks":
        """The chunks of a text, or of tokens that are taken as they are."""
        context = params.context
        if context > llm.model_info.max_context:
            raise ConfigError(
                f"context is {context}; the model holds {llm.model_info.max_context} tokens at most here"
            )
        tokens = llm.tokenize(text, parse_special=False) if isinstance(text, str) else list(text)
        count = min(len(tokens) // context, params.max_chunks or len(tokens))
        if not count:
            raise ConfigError(
                f"the text has {len(tokens)} tokens, which is no chunk of {context}: give a longer text "
                "(some 100 kB make a figure to rely on) or a shorter context"
            )
        chunks = np.array(tokens[: count * context], dtype=np.int64).reshape(count, context)
        tokenizer = llm.tokenizer
        if isinstance(text, str) and tokenizer and tokenizer.adds_bos and tokenizer.bos_token is not None:
            chunks[:, 0] = tokenizer.bos_token
        return cls(chunks, context // 2)

    @property
    def scored(self) -> NDArray[np.int64]:
        """The tokens that are scored, `[chunks, scored]`."""
        return self.token_ids[:, self.first + 1 :]

    def __iter__(self) -> Iterator[list[int]]:
        for chunk in self.token_ids:
            yield chunk.tolist()


@dataclass(frozen=True, eq=False)
class TextScores:
    """How likely the tokens of a text were.

    Attributes:
        token_ids: The scored tokens, `[chunks, scored]`.
        losses: Of each its negative log-likelihood, in nats.
        context: Tokens of a chunk.
    """

    token_ids: NDArray[np.int64]
    losses: NDArray[np.float64]
    context: int

    @cached_property
    def perplexity(self) -> Estimate:
        """The exponential of the mean loss; its error takes tokens for independent, as llama.cpp's does."""
        return exponential(mean(self.losses.ravel()))

    def to_json(self) -> dict[str, object]:
        """The figures for programs."""
        return {
            "perplexity": self.perplexity.to_json(),
            "mean_loss": mean(self.losses.ravel()).to_json(),
            "context": self.context,
            "chunks": len(self.losses),
            "scored_tokens": self.losses.size,
        }


def score_text(llm: "LLM", chunks: Chunks, report: Report) -> TextScores:
    """The losses of a text; only what is scored goes through the model's head."""
    losses = np.empty(chunks.scored.shape)
    for index, tokens in enumerate(chunks):
        [losses[index]] = llm.score_endings(tokens[: chunks.first + 1], [tokens[chunks.first + 1 :]])
        if not (np.isfinite(losses[index]) & (losses[index] < NO_LOSS)).all():
            raise GenerationError(f"in chunk {index + 1} of the text the model gives numbers that are none")
        report((index + 1) * len(tokens), chunks.token_ids.size)
    return TextScores(chunks.scored, losses, chunks.token_ids.shape[1])
