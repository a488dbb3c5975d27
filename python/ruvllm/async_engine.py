"""`AsyncEngine`: a loaded model for asyncio, where thousands of requests may wait without a thread each."""

import asyncio
import os
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ruvllm.llm import DEFAULT_MODEL, LLM, Prompt
from ruvllm.outputs import Completion, TokenLogprob
from ruvllm.params import GenerateParams
from ruvllm.runtime.request import Owner
from ruvllm.runtime.streams import AsyncCompletionStream, join_chunks
from ruvllm.text.messages import MessageLike

__all__ = ["AsyncEngine"]


class AsyncEngine:
    """What `LLM` does, to be awaited.

        async with AsyncEngine("smollm2-135m") as engine:
            answers = await asyncio.gather(*(engine.generate(prompt) for prompt in prompts))

    Cancelling the task that waits ends its request before the next step. All requests share the engine's
    steps with those of other threads.
    """

    def __init__(self, model: str | os.PathLike[str] | LLM = DEFAULT_MODEL, **settings: Any) -> None:
        """Load a model, with the settings of `LLM`; or take one that is loaded, which stays its owner's."""
        self._is_owner = not isinstance(model, LLM)
        self._llm = model if isinstance(model, LLM) else LLM(model, **settings)

    @property
    def llm(self) -> LLM:
        """The model: tokens, templates, figures, the prefix cache."""
        return self._llm

    async def generate(
        self,
        prompt: Prompt | Sequence[MessageLike],
        params: GenerateParams | None = None,
        *,
        tenant: str = "",
        priority: int = 0,
    ) -> Completion:
        """Continue a prompt, or answer a conversation."""
        async with self.stream(prompt, params, tenant=tenant, priority=priority) as stream:
            return join_chunks([chunk async for chunk in stream])

    async def chat(
        self,
        messages: str | Sequence[MessageLike],
        params: GenerateParams | None = None,
        *,
        tenant: str = "",
        priority: int = 0,
    ) -> Completion:
        """Answer a conversation; a lone text is the user's message."""
        if isinstance(messages, str):
            messages = [{"role": "user", "content": messages}]
        return await self.generate(messages, params, tenant=tenant, priority=priority)

    def stream(
        self,
        prompt: Prompt | Sequence[MessageLike],
        params: GenerateParams | None = None,
        *,
        tenant: str = "",
        priority: int = 0,
        rank: int | None = None,
        interval: float = 0.0,
    ) -> AsyncCompletionStream:
        """Do the same piece by piece, for `async for`; pieces come at least `interval` seconds apart.

        `rank`, here and below, is what the request counts beside other tenants', where not its priority.
        """
        return self._llm.astream(
            prompt, params, tenant=tenant, priority=priority, rank=rank, interval=interval
        )

    async def token_logprobs(
        self,
        token_ids: Sequence[int] | NDArray[np.integer[Any]],
        *,
        top_logprobs: int = 0,
        tenant: str = "",
        priority: int = 0,
        rank: int | None = None,
    ) -> tuple[TokenLogprob, ...]:
        """How likely each token but the first is, given those before it, with the likeliest in its place."""
        owner = Owner(tenant, priority, rank)
        return await self._llm._evaluations.token_logprobs(token_ids, top_logprobs, owner)

    async def embed(
        self,
        texts: Prompt | Sequence[str] | Sequence[Sequence[int]],
        *,
        tenant: str = "",
        priority: int = 0,
        rank: int | None = None,
    ) -> NDArray[np.float32]:
        """The mean of the last hidden states at unit length."""
        return await self._llm._evaluations.embed(texts, Owner(tenant, priority, rank))

    async def aclose(self) -> None:
        """End what is running, and the model where it was loaded here."""
        if self._is_owner:
            await asyncio.to_thread(self._llm.close)

    async def __aenter__(self) -> "AsyncEngine":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
