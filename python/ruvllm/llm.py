"""`LLM`: a model with everything that one does with it, safe to use from many threads."""

import os
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, cast, overload

import numpy as np
from numpy.typing import NDArray

from ruvllm._checks import Interval, check_integer, check_number
from ruvllm._settings import takes_settings
from ruvllm.adapters.registry import AdapterChoice, Adapters
from ruvllm.config import ModelConfig
from ruvllm.engine_settings import EngineKeywords, EngineSettings
from ruvllm.errors import ConfigError
from ruvllm.figures import EngineStats, MemoryStats, ModelInfo, PoolStats
from ruvllm.observability.profile import StepProfile
from ruvllm.outputs import Completion, TokenLogprob
from ruvllm.packs.manager import KernelManager
from ruvllm.params import GenerateParams
from ruvllm.runtime import accounts
from ruvllm.runtime.closing import Closing
from ruvllm.runtime.configuration import resolve_model, settings_from
from ruvllm.runtime.engine_prefix_cache import EnginePrefixCache
from ruvllm.runtime.evaluations import Evaluations
from ruvllm.runtime.gathering import CompletionsInTurn, completions_in_order
from ruvllm.runtime.opening import open_model
from ruvllm.runtime.prompts import Prompt, check_room, is_conversation, is_one_prompt
from ruvllm.runtime.request import GenerationTask, Terms
from ruvllm.runtime.streams import AsyncCompletionStream, CompletionStream
from ruvllm.runtime.text_methods import TextMethods
from ruvllm.text.messages import MessageLike
from ruvllm.types import DeviceType

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["LLM", "Prompt"]

DEFAULT_MODEL = "smollm2-135m"
# Of many prompts, so many are under way at once; the others wait here and not in the engine's queue.
MAX_IN_FLIGHT = 128
# Seconds between two pieces of a stream; a larger number is likely meant as milliseconds.
MAX_INTERVAL = 10.0


class LLM(Closing, TextMethods):
    """A language model, loaded.

        with LLM("smollm2-135m") as llm:
            print(llm.chat("What is the capital of France?").text)

    Every method may be called from any thread; requests that overlap share the engine's steps. Closing, or
    leaving a `with` block, ends what is still running.
    """

    @takes_settings(EngineSettings)
    def __init__(
        self,
        model: str | os.PathLike[str] = DEFAULT_MODEL,
        *,
        config: ModelConfig | None = None,
        progress: Callable[[int, int], None] | None = None,
        **settings: "Unpack[EngineKeywords]",
    ) -> None:
        """Load a model.

        Args:
            model: A path, `org/repo`, `org/repo:Q4_K_M`, `hf://...` or a name that `ruvllm list` knows.
            config: The documented settings; the arguments below stand above it.
            progress: Called with the bytes done and in all while loading.
            **settings: Each may be left out:
                {settings}
        """
        configured = settings_from(config, EngineSettings.given(settings))
        self._open = open_model(resolve_model(model, config), configured, progress)
        self._loop = self._open.loop
        self._adapters = Adapters(self._open.native, self._loop.adapter_uses)
        self._device = config.device if config else DeviceType.auto()
        # Also at the interpreter's end, where threads that are still in the engine would be cut off.
        self._finalizer = weakref.finalize(self, self._loop.close)

    def __repr__(self) -> str:
        return f"LLM({str(self._open.path)!r})"

    def close(self) -> None:
        """End what is running and stop the threads. Twice is the same as once."""
        self._finalizer()

    # -- making text

    @overload
    def generate(  # type: ignore[overload-overlap]  # a text is a sequence of texts, too
        self,
        prompt: Prompt,
        params: GenerateParams | None = None,
        *,
        tenant: str = "",
        priority: int = 0,
        adapter: AdapterChoice = None,
    ) -> Completion: ...
    @overload
    def generate(
        self,
        prompt: Sequence[str] | Sequence[Sequence[int]],
        params: GenerateParams | None = None,
        *,
        tenant: str = "",
        priority: int = 0,
        adapter: "AdapterChoice | Sequence[AdapterChoice]" = None,
    ) -> list[Completion]: ...
    def generate(
        self,
        prompt: Prompt | Sequence[str] | Sequence[Sequence[int]],
        params: GenerateParams | None = None,
        *,
        tenant: str = "",
        priority: int = 0,
        adapter: "AdapterChoice | Sequence[AdapterChoice]" = None,
    ) -> Completion | list[Completion]:
        """Continue a prompt, or each of a list of prompts together.

            llm.generate("The capital of France is", GenerateParams(max_tokens=8)).text

        Args:
            prompt: A text, token ids, or a list of either.
            params: How; the defaults are `GenerateParams()`.
            tenant: On whose account, as `org/team/user`. Tenants take turns and share no cached prefix.
            priority: Higher ones go first, if need be in the place of lower ones.
            adapter: The name of a loaded adapter, or several with scales: `{"tone": 1.0, "law": 0.5}`; for a
                list of prompts also a list, one for each.
        """
        params = params or GenerateParams()
        if is_one_prompt(prompt):
            terms = self._terms(tenant, priority, cast("AdapterChoice", adapter))
            return self._start(self._task(cast("Prompt", prompt), params, terms)).completion()
        prompts = list(cast("Sequence[Prompt]", prompt))
        terms_of_each = [self._terms(tenant, priority, one) for one in _for_each(adapter, len(prompts))]
        tasks = [self._task(one, params, terms) for one, terms in zip(prompts, terms_of_each, strict=True)]
        return completions_in_order(self._loop, tasks, max_in_flight=MAX_IN_FLIGHT)

    def chat(
        self,
        messages: str | Sequence[MessageLike],
        params: GenerateParams | None = None,
        *,
        tenant: str = "",
        priority: int = 0,
        adapter: AdapterChoice = None,
    ) -> Completion:
        """Answer a conversation; a lone text is the user's message.

        llm.chat([{"role": "user", "content": "Hello"}]).text
        """
        tokens, terms = self.chat_tokens(messages), self._terms(tenant, priority, adapter)
        return self._start(self._task(tokens, params or GenerateParams(), terms)).completion()

    def stream(
        self,
        prompt: Prompt | Sequence[MessageLike],
        params: GenerateParams | None = None,
        *,
        tenant: str = "",
        priority: int = 0,
        adapter: AdapterChoice = None,
    ) -> CompletionStream:
        """Continue a prompt, or answer a conversation, piece by piece.

            for chunk in llm.stream([{"role": "user", "content": "Hello"}]):
                print(chunk.text, end="", flush=True)

        The request begins at once; closing the stream ends it.
        """
        return self._start(self._stream_task(prompt, params, self._terms(tenant, priority, adapter)))

    def astream(
        self,
        prompt: Prompt | Sequence[MessageLike],
        params: GenerateParams | None = None,
        *,
        tenant: str = "",
        priority: int = 0,
        rank: int | None = None,
        interval: float = 0.0,
    ) -> AsyncCompletionStream:
        """Do the same as `stream` for `async for`; cancelling the task that reads ends the request.

        With an `interval` pieces come at least so many seconds apart, but for the first and the last: many
        streams cost less processor time. A `rank` is what the request counts beside other tenants' where that
        is not its `priority`: a server lets no client decide on it alone.

        async for chunk in llm.astream("Once upon a time"):
            print(chunk.text, end="", flush=True)
        """
        task = self._stream_task(prompt, params, Terms(tenant, priority, rank))
        check_number("interval", interval, Interval(0, MAX_INTERVAL))
        return AsyncCompletionStream(
            self._loop, task, with_logprobs=task.params.logprobs is not None, interval=interval
        )

    def as_completed(
        self,
        prompts: Iterable[Prompt | Sequence[MessageLike]],
        params: GenerateParams | None = None,
        *,
        tenant: str = "",
        priority: int = 0,
        adapter: AdapterChoice = None,
        max_in_flight: int = MAX_IN_FLIGHT,
    ) -> CompletionsInTurn:
        """Answer any number of prompts or conversations together; gives each when it is done.

            for index, outcome in llm.as_completed(["Paris is", "Rome is"]):
                print(index, outcome)

        An outcome is a `Completion`, or the error of this one prompt. At most `max_in_flight` are under way;
        the others are taken from their iterable when there is room.
        """
        check_integer("max_in_flight", max_in_flight, 1)
        make = partial(self._stream_task, params=params, terms=self._terms(tenant, priority, adapter))
        return CompletionsInTurn(self._loop, prompts, make, max_in_flight=max_in_flight)

    # -- numbers

    def logits(
        self, token_ids: Sequence[int] | NDArray[np.integer[Any]], *, adapter: AdapterChoice = None
    ) -> NDArray[np.float32]:
        """The model's logits after each token, `[tokens, vocab]`."""
        return self._evaluations.logits(token_ids, self._terms(adapter=adapter)).wait()

    def score(
        self, token_ids: Sequence[int] | NDArray[np.integer[Any]], *, adapter: AdapterChoice = None
    ) -> NDArray[np.float32]:
        """The negative log-likelihood of each token but the first, given those before it, `[tokens - 1]`."""
        scored = self.token_logprobs(token_ids, adapter=adapter)
        return np.array([-one.logprob for one in scored], dtype=np.float32)

    def token_logprobs(
        self,
        token_ids: Sequence[int] | NDArray[np.integer[Any]],
        *,
        top_logprobs: int = 0,
        tenant: str = "",
        priority: int = 0,
        adapter: AdapterChoice = None,
    ) -> tuple[TokenLogprob, ...]:
        """How likely each token but the first is, given those before it, with the likeliest in its place.

        `top_logprobs` is how many likeliest ones to name, up to 20.
        """
        terms = self._terms(tenant, priority, adapter)
        return self._evaluations.token_logprobs(token_ids, top_logprobs, terms).wait()

    def embed(
        self,
        texts: Prompt | Sequence[str] | Sequence[Sequence[int]],
        *,
        tenant: str = "",
        priority: int = 0,
        adapter: AdapterChoice = None,
    ) -> NDArray[np.float32]:
        """The mean of the last hidden states at unit length: `[hidden]`, or `[texts, hidden]` of a list."""
        return self._evaluations.embed(texts, self._terms(tenant, priority, adapter)).wait()

    async def atoken_logprobs(
        self,
        token_ids: Sequence[int] | NDArray[np.integer[Any]],
        *,
        top_logprobs: int = 0,
        tenant: str = "",
        priority: int = 0,
        rank: int | None = None,
    ) -> tuple[TokenLogprob, ...]:
        """Do the same as `token_logprobs`, to be awaited; `rank` is as for `astream`."""
        terms = Terms(tenant, priority, rank)
        return await self._evaluations.token_logprobs(token_ids, top_logprobs, terms)

    async def aembed(
        self,
        texts: Prompt | Sequence[str] | Sequence[Sequence[int]],
        *,
        tenant: str = "",
        priority: int = 0,
        rank: int | None = None,
    ) -> NDArray[np.float32]:
        """Do the same as `embed`, to be awaited; `rank` is as for `astream`."""
        return await self._evaluations.embed(texts, Terms(tenant, priority, rank))

    # -- what it is

    @cached_property
    def model_info(self) -> ModelInfo:
        """What the model is and how it runs."""
        return accounts.model_info(self._open, self._device)

    @property
    def failure(self) -> Exception | None:
        """What stopped the engine for good; `None` while it runs."""
        return self._loop.failure

    def stats(self) -> EngineStats:
        """Memory, prefix cache and kernel pack in one; `stats().kernel_pack.calls` says what the pack did."""
        return accounts.engine_stats(self._open, self.prefix_cache.stats())

    @property
    def kernel_packs(self) -> KernelManager | None:
        """The packs that it computes with, to be changed while it runs; `None` without `kernel_pack`."""
        return self._open.kernel_packs

    def memory_stats(self) -> MemoryStats:
        """Memory in use now; the key-value blocks as of the last plan."""
        return accounts.memory_stats(self._open)

    @property
    def adapters(self) -> Adapters:
        """The adapters that requests may name: `load`, `replace`, `unload`, `list`."""
        return self._adapters

    @cached_property
    def prefix_cache(self) -> EnginePrefixCache:
        """What the model has computed and keeps."""
        return EnginePrefixCache(self._open.memory, self._loop, self._open.path)

    def pool_stats(self) -> PoolStats:
        """The pages, blocks and tenants of the key-value cache, now."""
        return accounts.pool_stats(self._open)

    def set_quota(self, tenant: str, num_bytes: int | None) -> None:
        """Say what a tenant and all below it (`org`, `org/team`) may hold of the key-value cache."""
        accounts.set_quota(self._open, tenant, num_bytes)

    def start_profile(self) -> None:
        """Time the engine's steps from here on, by operation, until `take_profile`."""
        self._loop.start_profile()

    def take_profile(self) -> StepProfile:
        """End that, and give what was recorded; `InvalidOperationError` where nothing was."""
        return self._loop.take_profile()

    # -- from arguments to tasks

    def _terms(self, tenant: str = "", priority: int = 0, adapter: AdapterChoice = None) -> Terms:
        return Terms(tenant, priority, adapters=self.adapters.chosen(adapter))

    def _start(self, task: GenerationTask) -> CompletionStream:
        return CompletionStream(self._loop, task, with_logprobs=task.params.logprobs is not None)

    def _stream_task(
        self, prompt: Prompt | Sequence[MessageLike], params: GenerateParams | None, terms: Terms
    ) -> GenerationTask:
        if is_conversation(prompt):
            prompt = self.chat_tokens(cast("Sequence[MessageLike]", prompt))
        return self._task(cast("Prompt", prompt), params or GenerateParams(), terms)

    def _task(self, prompt: Prompt, params: GenerateParams, terms: Terms) -> GenerationTask:
        if not isinstance(params, GenerateParams):
            raise ConfigError(f"params is a {type(params).__name__}; it must be GenerateParams")
        if params.stop_sequences:
            self._required_tokenizer()
        tokens = self._tokens(prompt)
        room = check_room(len(tokens), self._open.max_context)
        return GenerationTask(
            token_ids=tokens,
            params=params,
            max_tokens=min(params.max_tokens, room),
            tenant=terms.tenant,
            priority=terms.priority,
            rank=terms.rank,
            adapters=terms.adapters,
        )

    @property
    def _evaluations(self) -> Evaluations:
        # Not kept: its way back to the model would keep a forgotten model alive.
        return Evaluations(self._open, self._tokens)

    def _tokens(self, prompt: Prompt) -> list[int]:
        if not isinstance(prompt, str):
            return self._checked_tokens(prompt)
        tokens = self.tokenize(prompt)
        if not tokens:
            raise ConfigError("the prompt is empty; it must have at least one token")
        return tokens


def _for_each(
    adapter: "AdapterChoice | Sequence[AdapterChoice]", num_prompts: int
) -> "Sequence[AdapterChoice]":
    """The adapter of each prompt of a list: one for all, or one for each."""
    if adapter is None or isinstance(adapter, str | Mapping):
        return [adapter] * num_prompts
    if len(adapter) != num_prompts:
        raise ConfigError(f"there are {len(adapter)} adapters for {num_prompts} prompts")
    return adapter
