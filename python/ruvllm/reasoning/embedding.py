"""Texts as vectors of unit length, from a model or from a function, checked before they are used."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ruvllm.errors import ConfigError, EmbeddingError
from ruvllm.llm import LLM

if TYPE_CHECKING:
    EmbeddingSource: TypeAlias = LLM | "EmbedFunction"

__all__ = ["PROBE", "EmbedFunction", "Embeddings", "Vectors"]

EmbedFunction: TypeAlias = Callable[[list[str]], ArrayLike]
"""Gives [texts, dimensions] of numbers for a list of texts."""

Vectors: TypeAlias = NDArray[np.float32]

MAX_DIMENSIONS = 2**16
# Of a long request the beginning says what it is about; the time for it has a bound.
MAX_TOKENS = 512
# Stands behind a request, so that the states of the last tokens are about its kind and not about its words.
ASKING = "\n\nThis is a question about"
# A text whose embedding tells one model from another.
PROBE = "Which model made the vectors of this bank?"


class Embeddings:
    """Makes vectors out of texts, always by the same means."""

    def __init__(self, source: "EmbeddingSource", tenant: str) -> None:
        if not isinstance(source, LLM) and not callable(source):
            raise ConfigError(
                f"{source!r} makes no embeddings; give an LLM, or a function of a list of texts"
            )
        self._source = source
        self._tenant = tenant
        self._dimensions: int | None = None
        self.probe = self.of([PROBE])[0]

    @property
    def dimensions(self) -> int:
        """How long each vector is."""
        return len(self.probe)

    def of(self, texts: Sequence[str]) -> Vectors:
        """The texts' vectors, at unit length: [texts, dimensions]."""
        if isinstance(self._source, LLM):
            raw: ArrayLike = self._of_model(self._source, texts)
        else:
            raw = self._source(list(texts))
        return self._checked(raw, len(texts))

    def count_tokens(self, text: str) -> int:
        """How many tokens a text is; its bytes where there is no tokenizer, as no token has less than one."""
        if isinstance(self._source, LLM) and self._source.tokenizer is not None:
            return len(self._source.tokenize(text, add_bos=False, parse_special=False))
        return len(text.encode())

    def _of_model(self, model: LLM, texts: Sequence[str]) -> Vectors:
        asking = model.tokenize(ASKING, add_bos=False)
        limit = max(1, min(MAX_TOKENS, model.model_info.max_context) - len(asking))
        # What looks like a mark in a request is only text there.
        tokens = [model.tokenize(text, parse_special=False)[:limit] + asking for text in texts]
        return model.embed(tokens, tenant=self._tenant)

    def _checked(self, raw: ArrayLike, num_texts: int) -> Vectors:
        try:
            vectors = np.asarray(raw, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise EmbeddingError(f"the function gave no array of numbers: {error}") from error
        if vectors.ndim != 2 or len(vectors) != num_texts or not vectors.shape[1]:
            raise EmbeddingError(
                f"the function gave {list(vectors.shape)} for {num_texts} texts; "
                "it must give [texts, dimensions]"
            )
        if vectors.shape[1] > MAX_DIMENSIONS:
            raise EmbeddingError(f"{vectors.shape[1]} dimensions are too many; it may be {MAX_DIMENSIONS}")
        if self._dimensions is not None and vectors.shape[1] != self._dimensions:
            raise EmbeddingError(
                f"the function gave {vectors.shape[1]} dimensions; it gave {self._dimensions} before"
            )
        lengths = np.linalg.norm(vectors, axis=1)
        if not np.isfinite(lengths).all() or not lengths.all():
            raise EmbeddingError(
                "an embedding is zero or has a number that is not finite; it has no direction"
            )
        self._dimensions = vectors.shape[1]
        unit: Vectors = (vectors / lengths[:, None]).astype(np.float32)
        return unit
