"""A model of a server: named, loaded on first use, given up when it is told to; then an `AsyncEngine`."""

import asyncio
import hashlib
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import ruvllm._native as _native
import ruvllm.whole_file as whole_file
from ruvllm.adapters import AdapterInfo
from ruvllm.async_engine import AsyncEngine
from ruvllm.errors import InvalidOperationError, NotFoundError, RuvLLMError, StorageError
from ruvllm.llm import LLM
from ruvllm.serve.errors import ApiError
from ruvllm.serve.model_learning import ModelLearning, Teaching
from ruvllm.serve.model_loading import ModelLoading, OpenLLM
from ruvllm.serve.model_uses import ModelUses

__all__ = ["KvBlocks", "ServedModel"]

logger = logging.getLogger(__name__)

# Where a model cannot be given up though nobody uses it, it is tried again after so long at least.
TRY_AGAIN_SECONDS = 60.0


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
        uses: The requests that hold it, and how long it stays without any.
        loading: How it is loaded.
        prefix_file: Where its prefix cache is kept between two runs.
        adapter_list: Where it is kept which adapters it has.
        learned_folder: Where it is kept what tenants taught it.
        learning: What they teach it; `None` where nobody may, or while it is not loaded.
        was_fetched: Whether a client had it fetched; all others are those of whoever started the server.

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
        self.uses = ModelUses(self._begin_to_give_up)
        self.loading = ModelLoading(name, self._open, self._take)
        self.prefix_file = prefix_file
        self.adapter_list: Path | None = None
        self.learned_folder: Path | None = None
        self.learning: ModelLearning | None = None
        self.was_fetched = False
        self._teaching: Teaching | None = None
        self._open_llm = open_llm
        self._adapters = dict(adapters or {})
        self._engine: AsyncEngine | None = None
        self._was_loaded = False
        self._giving_up: asyncio.Task[None] | None = None
        self._unused_unload: asyncio.Task[None] | None = None
        self._is_closed = False
        self._is_owner = True
        self._quotas: dict[str, int] = {}
        self._fingerprint = ""
        self._saving = asyncio.Lock()

    @classmethod
    def loaded(cls, name: str, engine: AsyncEngine, *, prefix_file: Path | None = None) -> "ServedModel":
        """A model that its owner has loaded, and will close."""
        model = cls(name, lambda: engine.llm, prefix_file=prefix_file)
        model._engine, model._is_owner, model._was_loaded = engine, False, True
        return model

    @property
    def status(self) -> str:
        """`unloaded`, `loading`, `ready`, `unloading` or `failed`."""
        if self._giving_up is not None:
            return "unloading"
        if self._engine is not None:
            return "ready" if self._engine.llm.failure is None else "failed"
        if self.loading.task is not None:
            return "loading"
        return "unloaded" if self.load_failure is None else "failed"

    @property
    def failure(self) -> Exception | None:
        """Why it cannot be used, as it stands."""
        return self.load_failure if self._engine is None else self._engine.llm.failure

    @property
    def load_failure(self) -> Exception | None:
        """Why it could not be loaded, the last time."""
        return self.loading.failures.last

    @property
    def was_loaded(self) -> bool:
        """Whether it has been loaded, be it now or before it was given up."""
        return self._was_loaded

    @property
    def is_being_opened(self) -> bool:
        """Whether a thread still loads it, whoever has given up on that."""
        return self.loading.has_thread

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

    # -- loading

    async def ready(self) -> AsyncEngine:
        """The engine, loaded first where it is not; whoever comes while it loads waits for the same.

        It stays what it is while the caller holds the model: see `uses`.
        """
        while self._giving_up is not None:
            await asyncio.shield(self._giving_up)
        if self._engine is not None:
            return self._engine
        failures = self.loading.failures
        if self.loading.task is None and (failure := failures.standing) is not None:
            raise self.loading.refusal(failure)
        # A client that leaves must not end the loading for the others.
        return await asyncio.shield(self.loading.begin())

    async def _take(self, engine: AsyncEngine) -> None:
        if self._is_closed:
            await engine.aclose()
        self._engine, self._was_loaded = engine, True
        self.uses.begin_time()

    def _open(self) -> LLM:
        llm = self._open_llm()
        try:
            if self.adapter_list is not None:
                llm.adapters.keep_list(self.adapter_list)
            self._prepare(llm)
            self._begin_learning(llm)
            if self._is_closed:
                raise InvalidOperationError(f"the model {self.name} is served no more")
        except BaseException:
            llm.close()
            raise
        return llm

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
        return await self._save_prefixes(self.llm, path)

    async def _save_prefixes(self, llm: LLM, path: Path) -> int:
        async with self._saving:
            return await asyncio.to_thread(llm.prefix_cache.save, path)

    async def load(self, wait_seconds: float) -> None:
        """Begin to load it, also where that failed before, and wait so long at most; 503 where it fails."""
        while self._giving_up is not None:
            await asyncio.shield(self._giving_up)
        if self._engine is None:
            task = self.loading.begin()
            await asyncio.wait({task}, timeout=wait_seconds)
            if task.done():
                task.result()

    # -- giving it up

    @property
    def is_owner(self) -> bool:
        """Whether it is loaded and closed here, and not by the program that serves it."""
        return self._is_owner

    def keep_for(self, seconds: float | None) -> None:
        """Have it stay so long after its last use; one that its owner closes stays in any case."""
        if self._is_owner:
            self.uses.keep_seconds = seconds

    async def unload(self, wait_seconds: float = 0.0) -> None:
        """Give the model up once no request holds it; it is loaded again when one asks for it.

        409, and nothing has changed, where one still holds it after so long, where what tenants taught it
        would be gone, and where it is its owner's to close.
        """
        if not self._is_owner:
            message = f"the model {self.name} belongs to the program that serves it, which alone closes it"
            raise ApiError(409, message, code="not_ours")
        deadline = time.monotonic() + wait_seconds
        if (task := self.loading.task) is not None:
            await asyncio.wait({task}, timeout=wait_seconds)
        # A thread looks whether all is kept, and meanwhile requests may come.
        while True:
            is_free = await self.uses.none_within(max(0.0, deadline - time.monotonic()))
            if not is_free or self.loading.task is not None:
                raise self._in_use(wait_seconds)
            if (engine := self._engine) is None or self._giving_up is not None:
                break
            if (learning := self.learning) is not None:
                await self._check_kept(learning)
            if not self.uses.count and self._engine is engine and self._giving_up is None:
                self._giving_up = asyncio.create_task(self._give_up(engine), name=f"unload {self.name}")
                break
        if self._giving_up is not None:
            await asyncio.shield(self._giving_up)

    def _in_use(self, wait_seconds: float) -> ApiError:
        count = self.uses.count
        holders = f"{count} {'request' if count == 1 else 'requests'}" if count else "its loading"
        message = (
            f"the model {self.name} is in use by {holders}, after {wait_seconds:g} s of waiting: try later"
        )
        return ApiError(409, message, code="model_in_use", param="model")

    async def _check_kept(self, learning: ModelLearning) -> None:
        if (lost := await asyncio.to_thread(learning.would_be_lost)) is not None:
            raise ApiError(409, f"the model {self.name} stays loaded: {lost}", code="would_be_lost")

    async def _give_up(self, engine: AsyncEngine) -> None:
        began = time.monotonic()
        # The next loading brings the same adapters, whoever loaded or forgot them meanwhile.
        self._adapters = {one.name: one.source for one in self.adapters() if one.source is not None}
        learning, self.learning, self._engine = self.learning, None, None
        self.uses.forget_time()
        try:
            await self._end(engine, learning)
        except Exception:
            logger.exception("the model %s did not end well", self.name)
        finally:
            self._giving_up = None
        logger.info("the model %s is given up, after %.2f s", self.name, time.monotonic() - began)

    def _begin_to_give_up(self) -> None:
        if self._engine is not None and self._is_owner:
            # Held, since the loop itself would let it be collected.
            self._unused_unload = asyncio.ensure_future(self.unload())
            self._unused_unload.add_done_callback(self._was_given_up)

    def _was_given_up(self, unloading: "asyncio.Future[None]") -> None:
        self._unused_unload = None
        if not unloading.cancelled() and (error := unloading.exception()) is not None:
            logger.info("nobody uses the model %s, but: %s", self.name, error)
            self.uses.begin_time(at_least=TRY_AGAIN_SECONDS)

    async def close(self) -> None:
        """Keep what was computed, and end the model loaded here; one that still loads is given up."""
        self._is_closed = True
        self.uses.forget_time()
        if self._giving_up is not None:
            await self._giving_up
        if self._engine is not None:
            await self._end(self._engine, self.learning)

    async def _end(self, engine: AsyncEngine, learning: ModelLearning | None) -> None:
        if self.prefix_file is not None and engine.llm.failure is None:
            try:
                await self._save_prefixes(engine.llm, self.prefix_file)
            except (RuvLLMError, OSError) as error:
                logger.error("the prefix cache could not be kept: %s", error)
        if self._is_owner:
            await engine.aclose()
        if learning is not None:
            try:
                await asyncio.to_thread(learning.close)
            except RuvLLMError as error:
                logger.error("what was learned is not all kept: %s", error)
