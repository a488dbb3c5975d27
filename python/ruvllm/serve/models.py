"""The models of a server: named, loaded on first use, each an `AsyncEngine`."""

import asyncio
import hashlib
import logging
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import ruvllm._native as _native
import ruvllm.whole_file as whole_file
from ruvllm.adapters import AdapterInfo
from ruvllm.async_engine import AsyncEngine, OpeningEngine
from ruvllm.errors import InvalidOperationError, NotFoundError, RuvLLMError, StorageError
from ruvllm.llm import LLM
from ruvllm.serve.disclosure import public_message
from ruvllm.serve.errors import ApiError
from ruvllm.serve.keys import KeyRing
from ruvllm.serve.model_learning import ModelLearning, Teaching
from ruvllm.serve.retrying import LoadFailures

__all__ = ["LATEST", "KvBlocks", "ServedModel", "ServedModels"]

logger = logging.getLogger(__name__)

OpenLLM = Callable[[], LLM]
"""Loads a model; called in a thread of its own."""


# Adapters of each model that an error names.
SHOWN = 8
# The version of a model that names without one mean to Ollama's clients.
LATEST = "latest"


class KvBlocks(NamedTuple):
    """What a model's key-value cache has room for: blocks of all layers, as if each saw all of a context."""

    num_blocks: int
    block_tokens: int

    @property
    def num_tokens(self) -> int:
        """The tokens of all of them."""
        return self.num_blocks * self.block_tokens


class ServedModel:
    """One model under the name that clients ask for.

    Attributes:
        name: What requests give as `model`.
        created: When the server learned of it, in seconds of the Unix clock.
        prefix_file: Where its prefix cache is kept between two runs.
        adapter_list: Where it is kept which adapters it has.
        learned_folder: Where it is kept what tenants taught it.
        learning: What they teach it; `None` where nobody may, or before it is loaded.

    Adapters are loaded with it, by their names and folders: without them it cannot be used.
    """

    def __init__(
        self,
        name: str,
        open_llm: OpenLLM,
        *,
        prefix_file: Path | None = None,
        adapters: Mapping[str, Path] | None = None,
    ) -> None:
        self.name = name
        self.created = int(time.time())
        self.prefix_file = prefix_file
        self.adapter_list: Path | None = None
        self.learned_folder: Path | None = None
        self.learning: ModelLearning | None = None
        self._teaching: Teaching | None = None
        self._open_llm = open_llm
        self._adapters = dict(adapters or {})
        self._engine: AsyncEngine | None = None
        self._failures = LoadFailures()
        self._loading: asyncio.Task[AsyncEngine] | None = None
        self._opening: OpeningEngine | None = None
        self._is_closed = False
        self._is_owner = True
        self._quotas: dict[str, int] = {}
        self._fingerprint = ""
        self._saving = asyncio.Lock()

    @classmethod
    def loaded(cls, name: str, engine: AsyncEngine, *, prefix_file: Path | None = None) -> "ServedModel":
        """A model that its owner has loaded, and will close."""
        model = cls(name, lambda: engine.llm, prefix_file=prefix_file)
        model._engine, model._is_owner = engine, False
        return model

    @property
    def status(self) -> str:
        """`unloaded`, `loading`, `ready` or `failed`."""
        if self._engine is not None:
            return "ready" if self._engine.llm.failure is None else "failed"
        if self._loading is not None:
            return "loading"
        return "unloaded" if self._failures.last is None else "failed"

    @property
    def failure(self) -> Exception | None:
        """Why it cannot be used, as it stands."""
        return self._failures.last if self._engine is None else self._engine.llm.failure

    @property
    def load_failure(self) -> Exception | None:
        """Why it could not be loaded, the last time."""
        return self._failures.last

    @property
    def is_being_opened(self) -> bool:
        """Whether a thread still loads it, whoever has given up on that."""
        return self._opening is not None and self._opening.is_loading

    @property
    def engine(self) -> AsyncEngine | None:
        """The loaded model; `None` before."""
        return self._engine

    @property
    def llm(self) -> LLM:
        """The loaded model, for what does not wait; `ready` was awaited before."""
        if self._engine is None:
            raise ApiError(503, f"the model {self.name} is not loaded", code="loading")
        return self._engine.llm

    def comes_with(self, adapter: str, folder: Path) -> None:
        """Have an adapter loaded with the model; said before it is."""
        self._adapters[adapter] = folder

    def adapters(self) -> list[AdapterInfo]:
        """The adapters that requests may ask for now; none before the model is loaded."""
        known = [] if self._engine is None else self._engine.adapters.list()
        return [one for one in known if one.tenant is None]

    def has_adapter(self, name: str) -> bool:
        """Whether it has an adapter of this name, or will once it is loaded."""
        if self._engine is None:
            return name in self._adapters
        try:
            self._engine.adapters.info(name)
        except NotFoundError:
            return False
        return True

    def kv_blocks(self) -> KvBlocks:
        """What there is room for; asks the engine, so it may take a moment."""
        stats = self.llm.pool_stats()
        return KvBlocks(stats.total_blocks // len(stats.windows), _native.KvBlocks.BLOCK_TOKENS)

    @property
    def fingerprint(self) -> str:
        """What answers depend on besides the request: `system_fingerprint`."""
        if not self._fingerprint:
            info = self.llm.model_info
            what = f"{info.name} {info.quantization} {info.file_bytes} {info.isa} {info.max_context}"
            self._fingerprint = f"fp_{hashlib.blake2s(what.encode(), digest_size=5).hexdigest()}"
        return self._fingerprint

    async def ready(self) -> AsyncEngine:
        """The engine, loaded first where it is not; whoever comes while it loads waits for the same."""
        if self._engine is not None:
            return self._engine
        if self._loading is None and (failure := self._failures.standing) is not None:
            raise self._not_loaded(failure)
        # A client that leaves must not end the loading for the others.
        return await asyncio.shield(self.start_loading())

    def start_loading(self) -> "asyncio.Task[AsyncEngine]":
        """Begin to load it, where nobody has."""
        if self._loading is None:
            self._loading = asyncio.create_task(self._load(), name=f"load {self.name}")
            self._loading.add_done_callback(_mark_retrieved)
        return self._loading

    async def _load(self) -> AsyncEngine:
        began = time.monotonic()
        try:
            engine = await self._opened()
        except Exception as error:
            self._failures.add(error)
            logger.error(
                "the model %s could not be loaded: %s",
                self.name,
                error,
                exc_info=None if isinstance(error, RuvLLMError) else error,
            )
            raise self._not_loaded(error) from error
        finally:
            self._loading = None
        logger.info("the model %s is loaded, after %.2f s", self.name, time.monotonic() - began)
        self._failures.clear()
        self._engine = engine
        return engine

    async def _opened(self) -> AsyncEngine:
        self._opening = AsyncEngine.opened_by(self._open, name=self.name)
        engine = await self._opening
        if self._is_closed:
            await engine.aclose()
        return engine

    def _open(self) -> LLM:
        llm = self._open_llm()
        try:
            if self.adapter_list is not None:
                llm.adapters.keep_list(self.adapter_list)
            self._prepare(llm)
            self._begin_learning(llm)
            if self._is_closed:
                raise InvalidOperationError("the server has ended")
        except BaseException:
            llm.close()
            raise
        return llm

    def _not_loaded(self, error: Exception) -> ApiError:
        message = f"the model {self.name} could not be loaded: {public_message(error)}"
        pause = self._failures.pause
        headers = {} if pause is None else {"retry-after": str(max(1, math.ceil(pause)))}
        return ApiError(503, message, code="model_failed", headers=headers)

    def hold_tenants_to(self, quotas: Mapping[str, int]) -> None:
        """Say what tenants may hold of the key-value cache, now or once the model is loaded."""
        self._quotas = dict(quotas)
        if self._engine is not None:
            self._prepare(self._engine.llm)

    def learn(self, teaching: Teaching) -> None:
        """Let tenants teach it, now or once it is loaded."""
        self._teaching = teaching
        if self._engine is not None:
            self._begin_learning(self._engine.llm)

    def _begin_learning(self, llm: LLM) -> None:
        if self._teaching is not None and self.learning is None:
            self.learning = ModelLearning(llm, self.learned_folder, self._teaching)

    def _prepare(self, llm: LLM) -> None:
        """Set quotas, load adapters, read what the last run computed; where that does not fit, it is left."""
        known = {one.name for one in llm.adapters.list()}
        for name, folder in self._adapters.items():
            (llm.adapters.replace if name in known else llm.adapters.load)(name, folder)
        for tenant, num_bytes in self._quotas.items():
            llm.set_quota(tenant, num_bytes)
        if self.prefix_file is None:
            return
        whole_file.remove_abandoned(self.prefix_file)
        if not os.path.lexists(self.prefix_file):
            return
        try:
            loaded = llm.prefix_cache.load(self.prefix_file)
        except (StorageError, OSError) as error:
            logger.warning("the prefix cache of the last run is not used: %s", error)
        else:
            logger.info("%d prefixes (%d tokens) of the last run are back", loaded.entries, loaded.tokens)

    async def save_prefixes(self, path: Path) -> int:
        """Write the prefix cache of a model that is loaded to a file; gives its entries.

        Who comes meanwhile waits here, and not in a thread that others need.
        """
        async with self._saving:
            return await asyncio.to_thread(self.llm.prefix_cache.save, path)

    async def close(self) -> None:
        """Keep what was computed, and end the model loaded here; one that still loads is given up."""
        self._is_closed = True
        if self._engine is None:
            return
        if self.prefix_file is not None and self._engine.llm.failure is None:
            try:
                await self.save_prefixes(self.prefix_file)
            except (RuvLLMError, OSError) as error:
                logger.error("the prefix cache could not be kept: %s", error)
        if self._is_owner:
            await self._engine.aclose()
        if self.learning is not None:
            try:
                await asyncio.to_thread(self.learning.close)
            except RuvLLMError as error:
                logger.error("what was learned is not all kept: %s", error)


def _mark_retrieved(task: "asyncio.Task[AsyncEngine]") -> None:
    """An error that nobody waited for has been logged already."""
    if not task.cancelled():
        task.exception()


class ServedModels:
    """All of them; the first is the one that `/health` speaks of, and loads at the start."""

    def __init__(self, models: Sequence[ServedModel], keys: KeyRing) -> None:
        self._models = {model.name: model for model in models}
        quotas = {key.tenant: key.kv_quota_bytes for key in keys if key.kv_quota_bytes is not None}
        for model in models:
            model.hold_tenants_to(quotas)

    def __iter__(self) -> Iterator[ServedModel]:
        return iter(self._models.values())

    @property
    def first(self) -> ServedModel:
        """The model of requests that may leave it open."""
        return next(iter(self))

    def find(self, name: str) -> ServedModel | None:
        """The model of this name; adapters have other names, see `meant_by`."""
        return self._models.get(name)

    def meant_by(self, name: str | None) -> tuple[ServedModel, str | None]:
        """The model that a name asks for, and the adapter; the first model where there is no name; 404.

        A model goes before an adapter of its name, and of adapters of one name that of the earlier model;
        `BASE:NAME` says which is meant. Whether that one is there is known once its model is loaded.
        `NAME:latest`, as Ollama's clients complete a name, is `NAME` where it is not itself a name.
        """
        if name is None:
            return self.first, None
        if name not in self._models:
            name = self._without_version(name)
        if (model := self._models.get(name)) is not None:
            return model, None
        if (model := next((one for one in self if one.has_adapter(name)), None)) is not None:
            return model, name
        # A model's name may have a colon, and an adapter's has none.
        base, _, adapter = name.rpartition(":")
        if (model := self._models.get(base)) is not None:
            return model, adapter
        raise self.not_found(name)

    def _without_version(self, name: str) -> str:
        base, _, version = name.rpartition(":")
        model = self._models.get(base)
        is_adapter = model is not None and model.has_adapter(LATEST)
        return base if base and version == LATEST and not is_adapter else name

    def adapter_id(self, model: ServedModel, adapter: str) -> str:
        """What requests call an adapter of a model: its name, where that means no other."""
        plain = adapter not in self._models and self.meant_by(adapter) == (model, adapter)
        return adapter if plain else f"{model.name}:{adapter}"

    def not_found(self, name: str) -> ApiError:
        """The answer to a name that nothing has."""
        known = ", ".join([*self._models, *(one.name for model in self for one in model.adapters()[:SHOWN])])
        message = f"the model {name!r} does not exist; there is {known}"
        return ApiError(404, message, code="model_not_found", param="model")

    @property
    def are_being_opened(self) -> bool:
        """Whether threads still load some of them."""
        return any(model.is_being_opened for model in self)

    async def close(self) -> None:
        """End all of them."""
        for model in self:
            await model.close()
