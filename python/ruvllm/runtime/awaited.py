"""What a model does for asyncio, on terms that stand: `LLM.on` gives it.

The async methods of `LLM` and `AsyncEngine` make the terms out of their arguments; a server has made them
before, from a key and a body, and keeps them for all that a request comes to.
"""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ruvllm.adapters.generation import awaiting
from ruvllm.outputs import TokenLogprob
from ruvllm.params import GenerateParams
from ruvllm.runtime.branches import Branch, BranchLogprobs
from ruvllm.runtime.evaluations import Evaluations
from ruvllm.runtime.generations import Asked, Generations
from ruvllm.runtime.prompts import Prompt
from ruvllm.runtime.request import Terms
from ruvllm.runtime.streams import AsyncCompletionStream

__all__ = ["Awaited"]


class Awaited:
    """Answers and numbers, to be awaited, all on the same terms."""

    __slots__ = ("_evaluations", "_generations", "_terms")

    def __init__(self, generations: Generations, evaluations: Evaluations, terms: Terms) -> None:
        self._generations = generations
        self._evaluations = evaluations
        self._terms = terms

    def stream(
        self, asked: Asked, params: GenerateParams | None = None, *, interval: float = 0.0
    ) -> AsyncCompletionStream:
        """Continue a prompt, or answer a conversation, piece by piece; begun at once."""
        task = self._generations.task(asked, params, self._terms)
        return self._generations.begin_for_asyncio(task, interval=interval)

    def adapters_ready(self) -> AbstractAsyncContextManager[None]:
        """Within, an answer begins at once: the adapters of these terms are ready, learned ones too."""
        return awaiting(self._generations.adapters(self._terms))

    async def token_logprobs(
        self, token_ids: Sequence[int] | NDArray[np.integer[Any]], *, top_logprobs: int = 0
    ) -> tuple[TokenLogprob, ...]:
        """How likely each token but the first is, given those before it."""
        async with self.adapters_ready():
            result = self._evaluations.token_logprobs(token_ids, top_logprobs, self._terms)
        return await result

    async def branches(self, beginning: Sequence[int], branches: Sequence[Branch]) -> BranchLogprobs:
        """How likely the tokens that each branch asks for are, behind a beginning that all have."""
        async with awaiting(self._terms.adapters):
            result = self._evaluations.branches(beginning, branches, self._terms)
        return await result

    async def embed(self, text: Prompt) -> NDArray[np.float32]:
        """The mean of the last hidden states at unit length."""
        async with awaiting(self._terms.adapters):
            result = self._evaluations.embed(text, self._terms)
        return await result
