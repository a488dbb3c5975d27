"""`AsyncEngine`: a loaded model for asyncio, where thousands of requests may wait without a thread each."""

import asyncio
import os
import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from ruvllm._settings import takes_settings
from ruvllm.adapters.registry import AdapterChoice, Adapters
from ruvllm.config import ModelConfig
from ruvllm.decisions import Decision, DecisionParams
from ruvllm.decisions.questions import QuestionLike
from ruvllm.engine_settings import EngineKeywords, EngineSettings
from ruvllm.errors import ConfigError, InvalidOperationError
from ruvllm.hub.reference import called_unseen
from ruvllm.llm import DEFAULT_MODEL, LLM, Prompt
from ruvllm.outputs import Completion, TokenLogprob
from ruvllm.params import GenerateKeywords, GenerateParams, ManyParams, ParamsLike
from ruvllm.runtime.awaited import Awaited
from ruvllm.runtime.chat_methods import ChatKeywords, ManyConversations
from ruvllm.runtime.generations import Asked, ManyAsked
from ruvllm.runtime.loading_progress import Progress, checked_progress
from ruvllm.runtime.request import Terms
from ruvllm.runtime.streams import AsyncCompletionStream
from ruvllm.runtime.unpicklable import Unpicklable
from ruvllm.text.messages import MessageLike

if TYPE_CHECKING:
    from typing_extensions import Never, Unpack

__all__ = ["AsyncEngine", "OpeningEngine"]


class AsyncEngine(Unpicklable):
    """What `LLM` does, to be awaited.

        async with AsyncEngine.open("smollm2-135m") as engine:
            answers = await asyncio.gather(*(engine.generate(prompt) for prompt in prompts))

    Cancelling the task that waits ends its request before the next step. All requests share the engine's
    steps with those of other threads.
    """

    @takes_settings(EngineSettings)
    def __init__(
        self,
        model: str | os.PathLike[str] | LLM = DEFAULT_MODEL,
        *,
        config: ModelConfig | None = None,
        progress: Progress = True,
        **settings: "Unpack[EngineKeywords]",
    ) -> None:
        """Load a model here and now, as `LLM` does; in a coroutine, await `open`, which holds nobody up.

        Args:
            model: As for `LLM`; or one that is loaded, which stays its owner's to close.
            config: As for `LLM`.
            progress: As for `LLM`.
            **settings: Each may be left out, and a model that is loaded takes none:
                {settings}
        """
        self._is_owner = not isinstance(model, LLM)
        progress = checked_progress(progress)
        if isinstance(model, LLM):
            given = [
                *settings,
                *(["config"] if config else []),
                *(["progress"] if callable(progress) else []),
            ]
            if given:
                raise ConfigError(f"{', '.join(given)}: a model that is loaded already cannot be set up anew")
            self._llm = model
        else:
            self._llm = LLM(model, config=config, progress=progress, **settings)

    @classmethod
    @takes_settings(EngineSettings)
    def open(
        cls,
        model: str | os.PathLike[str] = DEFAULT_MODEL,
        *,
        config: ModelConfig | None = None,
        progress: Progress = True,
        **settings: "Unpack[EngineKeywords]",
    ) -> "OpeningEngine":
        """Fetch and load a model beside the event loop, which goes on meanwhile.

            engine = await AsyncEngine.open("smollm2-135m")

        `async with AsyncEngine.open(...) as engine:` also closes it.

        Args:
            model: As for `LLM`.
            config: As for `LLM`.
            progress: As for `LLM`; called in the thread that loads.
            **settings: Each may be left out:
                {settings}
        """
        return cls.opened_by(
            partial(LLM, model, config=config, progress=progress, **settings),
            name=called_unseen(model),
        )

    @classmethod
    def opened_by(cls, open_llm: Callable[[], LLM], *, name: str = "model") -> "OpeningEngine":
        """The same for a function that loads the model; the engine closes it. `name` is what is shown."""
        return OpeningEngine(open_llm, cls._owning, name)

    @classmethod
    def _owning(cls, llm: LLM) -> "AsyncEngine":
        engine = cls(llm)
        engine._is_owner = True
        return engine

    _instead = "pass the name of the model, and open an engine there"

    def __repr__(self) -> str:
        return f"AsyncEngine({self._llm!r})"

    @property
    def llm(self) -> LLM:
        """The model: tokens, templates, figures, the prefix cache."""
        return self._llm

    @property
    def adapters(self) -> Adapters:
        """The adapters that requests may name. To load one takes a while: `await asyncio.to_thread(...)`."""
        return self._llm.adapters

    def recommended_params(self) -> GenerateParams:
        """As `LLM.recommended_params`."""
        return self._llm.recommended_params()

    @overload
    async def generate(  # type: ignore[overload-overlap]  # as in `LLM`
        self,
        prompt: "list[Never]",
        params: ManyParams = None,
        *,
        tenant: str = "",
        priority: int = 0,
        adapter: "AdapterChoice | Sequence[AdapterChoice]" = None,
        **keywords: "Unpack[GenerateKeywords]",
    ) -> list[Completion]: ...
    @overload
    async def generate(  # type: ignore[overload-overlap]  # as in `LLM`
        self,
        prompt: Asked,
        params: ParamsLike = None,
        *,
        tenant: str = "",
        priority: int = 0,
        adapter: "AdapterChoice" = None,
        **keywords: "Unpack[GenerateKeywords]",
    ) -> Completion: ...
    @overload
    async def generate(
        self,
        prompt: ManyAsked,
        params: ManyParams = None,
        *,
        tenant: str = "",
        priority: int = 0,
        adapter: "AdapterChoice | Sequence[AdapterChoice]" = None,
        **keywords: "Unpack[GenerateKeywords]",
    ) -> list[Completion]: ...
    async def generate(
        self,
        prompt: Asked | ManyAsked,
        params: ManyParams = None,
        *,
        tenant: str = "",
        priority: int = 0,
        adapter: "AdapterChoice | Sequence[AdapterChoice]" = None,
        **keywords: "Unpack[GenerateKeywords]",
    ) -> Completion | list[Completion]:
        """Continue a prompt, or answer a conversation, or each of many together, as `LLM.generate` does.

        answer = await engine.generate("The capital of France is", max_tokens=8)
        """
        # None of the overloads takes what may be one or many.
        arguments: Any = (prompt, params)
        return await self._llm.agenerate(
            *arguments, tenant=tenant, priority=priority, adapter=adapter, **keywords
        )

    @overload
    async def chat(  # type: ignore[overload-overlap]  # as in `LLM`
        self,
        messages: "list[Never]",
        params: ManyParams = None,
        *,
        tenant: str = "",
        priority: int = 0,
        adapter: "AdapterChoice | Sequence[AdapterChoice]" = None,
        **keywords: "Unpack[ChatKeywords]",
    ) -> list[Completion]: ...
    @overload
    async def chat(  # type: ignore[overload-overlap]  # as in `LLM`
        self,
        messages: str | Sequence[MessageLike],
        params: ParamsLike = None,
        *,
        tenant: str = "",
        priority: int = 0,
        adapter: "AdapterChoice" = None,
        **keywords: "Unpack[ChatKeywords]",
    ) -> Completion: ...
    @overload
    async def chat(
        self,
        messages: ManyConversations,
        params: ManyParams = None,
        *,
        tenant: str = "",
        priority: int = 0,
        adapter: "AdapterChoice | Sequence[AdapterChoice]" = None,
        **keywords: "Unpack[ChatKeywords]",
    ) -> list[Completion]: ...
    async def chat(
        self,
        messages: str | Sequence[MessageLike] | ManyConversations,
        params: ManyParams = None,
        *,
        tenant: str = "",
        priority: int = 0,
        adapter: "AdapterChoice | Sequence[AdapterChoice]" = None,
        **keywords: "Unpack[ChatKeywords]",
    ) -> Completion | list[Completion]:
        """Answer a conversation, or each of many together, as `LLM.chat` does: with tools and all.

        answer = await engine.chat("Hello", max_tokens=40)
        """
        arguments: Any = (messages, params)  # as in `generate`
        return await self._llm.achat(
            *arguments, tenant=tenant, priority=priority, adapter=adapter, **keywords
        )

    def stream(
        self,
        prompt: Asked,
        params: ParamsLike = None,
        *,
        tenant: str = "",
        priority: int = 0,
        adapter: AdapterChoice = None,
        interval: float = 0.0,
        **keywords: "Unpack[GenerateKeywords]",
    ) -> AsyncCompletionStream:
        """Do the same piece by piece, for `async for`; pieces come at least `interval` seconds apart."""
        return self._llm.astream(
            prompt, params, tenant=tenant, priority=priority, adapter=adapter, interval=interval, **keywords
        )

    async def token_logprobs(
        self,
        token_ids: Sequence[int] | NDArray[np.integer[Any]],
        *,
        top_logprobs: int = 0,
        tenant: str = "",
        priority: int = 0,
        adapter: AdapterChoice = None,
    ) -> tuple[TokenLogprob, ...]:
        """How likely each token but the first is, given those before it, with the likeliest in its place."""
        return await self._llm.atoken_logprobs(
            token_ids, top_logprobs=top_logprobs, tenant=tenant, priority=priority, adapter=adapter
        )

    async def embed(
        self,
        texts: Prompt | Iterable[str] | Sequence[Sequence[int]],
        *,
        tenant: str = "",
        priority: int = 0,
        adapter: "AdapterChoice | Sequence[AdapterChoice]" = None,
    ) -> NDArray[np.float32]:
        """The mean of the last hidden states at unit length; for a list of texts `adapter` may be one."""
        return await self._llm.aembed(texts, tenant=tenant, priority=priority, adapter=adapter)

    async def decide(
        self,
        input: str | Sequence[MessageLike],
        questions: QuestionLike | Iterable[QuestionLike],
        params: DecisionParams | None = None,
        *,
        tenant: str = "",
        priority: int = 0,
        adapter: AdapterChoice = None,
    ) -> Decision:
        """Answer typed questions about an input with probabilities; nothing is generated."""
        return await self._llm.adecide(
            input, questions, params, tenant=tenant, priority=priority, adapter=adapter
        )

    def on(self, terms: Terms) -> Awaited:
        """The same on terms that stand already, as `LLM.on` gives it."""
        return self._llm.on(terms)

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


class OpeningEngine:
    """What `AsyncEngine.open` gives: to be awaited, or entered with `async with`, once.

    Loading begins then, in a thread of its own for which nothing waits: not the loop, nor the process at its
    end, as for the threads of a pool. A file may be on a disk that does not answer, or be fetched for long.
    Whoever gives up on it, by cancelling the task that waits, leaves nothing behind: what the thread has
    loaded by its end is closed.
    """

    def __init__(self, open_llm: Callable[[], LLM], make: Callable[[LLM], AsyncEngine], name: str) -> None:
        self._open_llm = open_llm
        self._make = make
        self._name = name
        self._thread: threading.Thread | None = None
        self._engine: AsyncEngine | None = None
        self._has_failed = False

    def __repr__(self) -> str:
        ended = "failed" if self._has_failed else "done"
        state = "not begun" if self._thread is None else "loading" if self.is_loading else ended
        return f"OpeningEngine({self._name!r:.64}, {state})"

    @property
    def is_loading(self) -> bool:
        """Whether the thread still loads, whoever has given up on that."""
        return self._thread is not None and self._thread.is_alive()

    def __await__(self) -> Generator[Any, None, AsyncEngine]:
        return self._opened().__await__()

    async def __aenter__(self) -> AsyncEngine:
        self._engine = await self
        return self._engine

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._engine is not None:
            await self._engine.aclose()

    async def _opened(self) -> AsyncEngine:
        if self._thread is not None:
            raise InvalidOperationError("this model is being opened already; await what `open` gives once")
        outcome: Future[LLM] = Future()
        # Running from the beginning: a task that stops waiting must not make an outcome impossible.
        outcome.set_running_or_notify_cancel()
        self._thread = threading.Thread(
            target=self._load, args=(outcome,), name=f"open {self._name}", daemon=True
        )
        self._thread.start()
        try:
            llm = await asyncio.wrap_future(outcome)
        except asyncio.CancelledError:
            outcome.add_done_callback(_close)
            raise
        return self._make(llm)

    def _load(self, outcome: "Future[LLM]") -> None:
        try:
            llm = self._open_llm()
        except BaseException as error:  # noqa: BLE001 - raised again by the one who waits
            self._has_failed = True
            outcome.set_exception(error)
        else:
            outcome.set_result(llm)


def _close(outcome: "Future[LLM]") -> None:
    """Close what nobody waits for any more."""
    if outcome.exception() is None:
        outcome.result().close()
