"""`LLM`: a model with everything that one does with it, safe to use from many threads."""

import os
import weakref
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

import ruvllm.hub as hub
from ruvllm._settings import takes_settings
from ruvllm.adapters.generation import NoReadiness, Readiness
from ruvllm.adapters.registry import AdapterChoice, Adapters, is_one_choice
from ruvllm.backends.supports import Supports
from ruvllm.config import ModelConfig
from ruvllm.decisions.methods import DecisionMethods
from ruvllm.engine_settings import EngineKeywords, EngineSettings
from ruvllm.errors import ConfigError
from ruvllm.figures import EngineStats, MemoryStats, ModelInfo, PoolStats, PrefixCacheStats
from ruvllm.learning.methods import LearningMethods
from ruvllm.learning.tenants import Learning
from ruvllm.observability.profile import StepProfile
from ruvllm.outputs import TokenLogprob
from ruvllm.packs.manager import KernelManager
from ruvllm.params import GenerateParams
from ruvllm.runtime import accounts
from ruvllm.runtime.awaited import Awaited
from ruvllm.runtime.backend import chosen_backend
from ruvllm.runtime.chat_methods import ChatMethods
from ruvllm.runtime.closing import Closing
from ruvllm.runtime.configuration import resolve_model, settings_from
from ruvllm.runtime.engine_prefix_cache import EnginePrefixCache
from ruvllm.runtime.evaluations import EvaluationResult, Evaluations, StackedResults, TokenIds
from ruvllm.runtime.generate_methods import GenerateMethods
from ruvllm.runtime.generations import Generations
from ruvllm.runtime.infill_methods import InfillMethods
from ruvllm.runtime.loading_progress import Progress, checked_progress, reporting
from ruvllm.runtime.open_model import OpenModel
from ruvllm.runtime.prompts import Prompt, prompts_of
from ruvllm.runtime.request import Terms
from ruvllm.runtime.unpicklable import Unpicklable
from ruvllm.structured.methods import StructuredMethods

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["LLM", "Prompt"]

DEFAULT_MODEL = "smollm2-135m"


class LLM(
    Unpicklable,
    Closing,
    GenerateMethods,
    ChatMethods,
    DecisionMethods,
    InfillMethods,
    StructuredMethods,
    LearningMethods,
):
    """A language model, loaded.

        with LLM("smollm2-135m") as llm:
            print(llm.chat("What is the chemical formula of water?", temperature=0.0).text)

    Every method may be called from any thread; requests that overlap share the engine's steps. Closing, or
    leaving a `with` block, ends what is still running.
    """

    @takes_settings(EngineSettings)
    def __init__(
        self,
        model: str | os.PathLike[str] = DEFAULT_MODEL,
        *,
        config: ModelConfig | None = None,
        progress: Progress = True,
        **settings: "Unpack[EngineKeywords]",
    ) -> None:
        """Load a model.

        Args:
            model: A path, `org/repo`, `org/repo:Q4_K_M`, `hf://...` or a name that `ruvllm list` knows.
            config: The documented settings; the arguments below stand above it.
            progress: Bars on stderr while it fetches and loads, where a person looks: in a terminal or a
                notebook. `False` shows none; a function is called with the bytes done and in all instead
                of showing the second.
            **settings: Each may be left out:
                {settings}
        """
        # Before anything is fetched: that may take long.
        progress = checked_progress(progress)
        configured = settings_from(config, EngineSettings.given(settings))
        chosen = chosen_backend(configured, config.device if config else None)
        self._device = chosen.device
        self._name = hub.called(model, hub.DEFAULT_REGISTRY)
        path = resolve_model(model, config, quiet=progress is False)
        with reporting(progress, self._name) as report:
            self._open = chosen.open(path, configured, report)
        self._loop = self._open.loop
        self._adapters = Adapters(_readiness(self._open))
        self._learning = Learning(self._open, self._adapters)
        # Also at the interpreter's end, where threads that are still in the engine would be cut off.
        self._finalizer = weakref.finalize(self, self._loop.close)

    def __repr__(self) -> str:
        opened = self._open
        return f"LLM({self.name!r:.64}, {opened.facts.quantization}, max_context={opened.max_context})"

    def _hint(self) -> str:
        return f"pass the name of the model and load it there: LLM({str(self._open.path)!r})"

    def close(self) -> None:
        """End what is running and stop the threads. Twice is the same as once."""
        self._learning.close()
        self._finalizer()

    # -- numbers

    def logits(
        self, token_ids: TokenIds, *, tenant: str = "", adapter: AdapterChoice = None
    ) -> NDArray[np.float32]:
        """The model's logits after each token, `[tokens, vocab]`."""
        return self._evaluations.logits(token_ids, self._terms(tenant, adapter=adapter)).wait()

    def score(
        self, token_ids: TokenIds, *, tenant: str = "", adapter: AdapterChoice = None
    ) -> NDArray[np.float32]:
        """The negative log-likelihood of each token but the first, given those before it, `[tokens - 1]`."""
        scored = self.token_logprobs(token_ids, tenant=tenant, adapter=adapter)
        return np.array([-one.logprob for one in scored], dtype=np.float32)

    def score_endings(
        self, beginning: TokenIds, endings: Sequence[Sequence[int]]
    ) -> list[NDArray[np.float32]]:
        """The negative log-likelihood of each token of each ending; the beginning is computed once."""
        branches = self._evaluations.endings(beginning, endings, self._terms()).wait()
        return [-logprobs for logprobs in branches.logprobs]

    def input_squares(
        self, token_ids: TokenIds, chunk: int, progress: Callable[[int, int], None] | None = None
    ) -> dict[str, NDArray[np.float32]]:
        """Sums of squares of what goes into each matrix's columns over chunks, by its name in GGUF files."""
        return dict(self._open.native.importance(self._checked_tokens(token_ids), chunk, progress))

    def token_logprobs(
        self,
        token_ids: TokenIds,
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
        texts: Prompt | Iterable[str] | Sequence[Sequence[int]],
        *,
        tenant: str = "",
        priority: int = 0,
        adapter: "AdapterChoice | Sequence[AdapterChoice]" = None,
    ) -> NDArray[np.float32]:
        """The mean of the last hidden states at unit length: `[hidden]`, or `[texts, hidden]` of a list.

        For a list of texts `adapter` may be a list, one for each.
        """
        return self._embedded(texts, tenant, priority, adapter).wait()

    async def atoken_logprobs(
        self,
        token_ids: TokenIds,
        *,
        top_logprobs: int = 0,
        tenant: str = "",
        priority: int = 0,
        adapter: AdapterChoice = None,
    ) -> tuple[TokenLogprob, ...]:
        """Do the same as `token_logprobs`, to be awaited."""
        work = self.on(self._terms(tenant, priority, adapter))
        return await work.token_logprobs(token_ids, top_logprobs=top_logprobs)

    async def aembed(
        self,
        texts: Prompt | Iterable[str] | Sequence[Sequence[int]],
        *,
        tenant: str = "",
        priority: int = 0,
        adapter: "AdapterChoice | Sequence[AdapterChoice]" = None,
    ) -> NDArray[np.float32]:
        """Do the same as `embed`, to be awaited."""
        return await self._embedded(texts, tenant, priority, adapter)

    def on(self, terms: Terms) -> Awaited:
        """What the async methods do, on terms that stand already: a server makes them once for a request."""
        return Awaited(self._generations, self._evaluations, terms)

    # -- what it is

    @property
    def name(self) -> str:
        """The name that it was loaded by; of a path what it ends in, without a file's ending."""
        return self._name

    @property
    def backend(self) -> str:
        """The engine that it runs on: `native`, `mistralrs`, ..."""
        return self._open.backend

    @property
    def supports(self) -> Supports:
        """What that engine can; what it cannot is refused by name."""
        return self._open.supports

    @cached_property
    def recommended(self) -> hub.Recommended:
        """How it answers best; `chat` of a text and `ChatSession` do so where nothing else is said.

        Nothing with a `chat_template` of one's own: it was measured with the model's.
        """
        return hub.NOTHING if self._open.text.template_is_chosen else hub.recommended_for(self._open.path)

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
        prefixes = self.prefix_cache.stats() if self._open.supports.prefix_cache else PrefixCacheStats.none()
        return accounts.engine_stats(self._open, prefixes)

    @property
    def kernel_packs(self) -> KernelManager | None:
        """The packs that it computes with, to be changed while it runs; `None` without `kernel_pack`."""
        return self._open.own.kernel_packs if self._open.own else None

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
        return EnginePrefixCache(self._open.memory, self._loop, self._open.path, self.name)

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
        if not is_one_choice(adapter):
            raise ConfigError(f"adapter is {adapter!r}; a list of adapters is for a list of prompts")
        return Terms(tenant, priority, adapters=self.adapters.chosen(adapter, tenant))

    def _terms_of_each(
        self,
        tenant: str,
        priority: int,
        adapter: "AdapterChoice | Sequence[AdapterChoice]",
        count: int | None,
    ) -> list[Terms]:
        """The terms of each of a list of prompts: one adapter for all, or one for each; of one at `None`."""
        if count is None or is_one_choice(adapter):
            # Found once, so that all have the same one, whatever becomes of the name meanwhile.
            terms = self._terms(tenant, priority, cast("AdapterChoice", adapter))
            return [terms] * (1 if count is None else count)
        each = cast("Sequence[AdapterChoice]", adapter)
        if len(each) != count:
            raise ConfigError(f"there are {len(each)} adapters for {count} prompts")
        return [self._terms(tenant, priority, one) for one in each]

    def _embedded(
        self,
        texts: Prompt | Iterable[str] | Sequence[Sequence[int]],
        tenant: str,
        priority: int,
        adapter: "AdapterChoice | Sequence[AdapterChoice]",
    ) -> "EvaluationResult[NDArray[np.float32]] | StackedResults":
        each, count = prompts_of(texts)
        terms = self._terms_of_each(tenant, priority, adapter, count)
        if count is None:
            return self._evaluations.embed(each[0], terms[0])
        return self._evaluations.embed_each(each, terms)

    def foretold(self, params: GenerateParams) -> tuple[int, ...]:
        """The tokens of a `prediction`; none where nothing is guessed."""
        return self._generations.foretold(params)

    # Neither is kept: its way back to the model would keep a forgotten model alive.

    @property
    def _generations(self) -> Generations:
        return Generations(self._open, self._tokens, self.render_chat, lambda: self.response_format.reasons)

    @property
    def _evaluations(self) -> Evaluations:
        return Evaluations(self._open, self._tokens)


def _readiness(model: OpenModel) -> Readiness:
    """What makes adapters ready, where the engine has any."""
    if model.own is None:
        return NoReadiness(model.backend)
    return Readiness(model.native, model.memory, model.own.adapter_bytes)
