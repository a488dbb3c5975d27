"""One content of an adapter, which never changes: what names it, where it comes from, and that it is ready.

Ready ones stand in memory as they are computed with, within a budget that keys and values share. Who asks for
another has it made anew, from its file or from the matrices that were given: which are ready changes how long
a request takes and nothing else. So no adapter is kept in fewer bits: answers would depend on the others.
"""

import asyncio
import hashlib
import os
import struct
import threading
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import ruvllm._native as _native
from ruvllm.adapters.source import Stamp, located, read_adapter, stamp_of
from ruvllm.adapters.weights import AdapterWeights
from ruvllm.errors import AdapterError, OutOfMemoryError, OverloadedError

__all__ = ["Generation", "HeldAdapters", "NoReadiness", "Readiness", "awaiting", "holding"]

# So long a request waits until others let go of theirs.
ROOM_SECONDS = 30.0
# After which it may ask again.
RETRY_SECONDS = 5.0
# A coroutine that waits looks so often.
LOOK_SECONDS = 0.05
# A signal ends a wait after this.
SLICE_SECONDS = 0.5


class Readiness:
    """Makes adapters ready for one engine.

    Attributes:
        model: The model that they are for.
        max_bytes: What they may take at once.
    """

    def __init__(self, model: "_native.Model", memory: "_native.EngineMemory", max_bytes: int) -> None:
        self.model = model
        self._memory = memory
        self.max_bytes = max_bytes
        self._pool = _native.AdapterPool(memory, max_bytes=max_bytes)

    def require(self) -> None:
        """Any adapter may come."""

    def get(self, number: int) -> "_native.Adapter | None":
        """One that is ready."""
        return self._pool.get(number)

    def make(self, number: int, weights: AdapterWeights, seconds: float) -> "_native.Adapter":
        """Make one ready; `OverloadedError` where requests that run hold all the room for so long."""
        try:
            return self._put(number, weights, 0.0)
        except OutOfMemoryError:
            num_bytes = sum(part.a.nbytes + part.b.nbytes for part in weights.parts)
            self._memory.make_room(num_bytes)
        until = time.monotonic() + seconds
        while True:
            left = max(0.0, until - time.monotonic())
            try:
                return self._put(number, weights, min(left, SLICE_SECONDS))
            except OutOfMemoryError as error:
                if not left:
                    full = OverloadedError(str(error))
                    full.retry_after_seconds = RETRY_SECONDS
                    raise full from error

    def forget(self, number: int) -> None:
        """Let the memory of one be used again that nobody will ask for."""
        self._pool.forget(number)

    def figures(self) -> dict[str, int]:
        """What `AdapterMemory` has."""
        ready, ready_bytes, pages, made, evicted = self._pool.stats()
        page_bytes = self._memory.pool_stats().page_bytes
        return {
            "ready": ready,
            "ready_bytes": ready_bytes,
            "used_bytes": pages * page_bytes,
            "max_bytes": self.max_bytes,
            "made": made,
            "evicted": evicted,
        }

    def _put(self, number: int, weights: AdapterWeights, seconds: float) -> "_native.Adapter":
        return self._pool.put(self.model, weights.parts, generation=number, seconds=seconds)


class NoReadiness(Readiness):
    """The same of an engine that has no adapters: none can be loaded, and so none is ever asked for."""

    def __init__(self, backend: str) -> None:
        self.max_bytes = 0
        self._backend = backend

    def require(self) -> None:
        """Refuse any adapter."""
        raise AdapterError(f"the backend {self._backend!r} has no adapters; use the native one")

    def figures(self) -> dict[str, int]:
        """What `AdapterMemory` has: nothing."""
        return dict.fromkeys(("ready", "ready_bytes", "used_bytes", "max_bytes", "made", "evicted"), 0)


class Generation:
    """A content, by its digest. Requests hold it from when they were asked for.

    Attributes:
        digest: Of every matrix with its place, shape and scale, in hexadecimal digits.
    """

    __slots__ = (
        "_given",
        "_lock",
        "_number",
        "_readiness",
        "_source",
        "_stamp",
        "_unused",
        "_uses",
        "digest",
    )

    def __init__(self, weights: AdapterWeights, readiness: Readiness, stamp: Stamp | None = None) -> None:
        self.digest = _digest(weights)
        # By which the engine knows it; 0 is the model alone.
        self._number = int(self.digest[:16], 16) or 1
        self._readiness = readiness
        self._source = weights.source
        self._given = weights if weights.source is None else None
        # Of its files before they were read; without one they are compared with the digest.
        self._stamp = stamp
        self._lock = threading.Lock()
        self._unused = threading.Condition()
        self._uses = 0

    @classmethod
    def of(
        cls, source: str | os.PathLike[str] | AdapterWeights, readiness: Readiness
    ) -> "tuple[Generation, AdapterWeights]":
        """What a folder, a file, or matrices in memory, are now."""
        if isinstance(source, AdapterWeights):
            weights, stamp = source, None
        else:
            path = located(source)
            stamp, weights = stamp_of(path), read_adapter(path)
        wanted, architecture = weights.architecture, readiness.model.gguf_architecture
        if wanted not in (None, architecture):
            raise AdapterError(
                f"{source} is for the architecture {str(wanted)[:100]!r}; the model is {architecture!r}"
            )
        return cls(weights, readiness, stamp), weights

    def made(self, weights: AdapterWeights) -> "_native.Adapter":
        """The adapter, made ready of its matrices, which are at hand; they are checked with that."""
        return self._readiness.make(self._number, weights, ROOM_SECONDS)

    def is_ready(self) -> bool:
        """Whether it could be computed with at once."""
        return self._readiness.get(self._number) is not None

    def ready(self, seconds: float = ROOM_SECONDS) -> "_native.Adapter":
        """The adapter, which stays ready as long as what this gives; made so where it is not."""
        native = self._readiness.get(self._number)
        if native is None:
            with self._lock:
                native = self._readiness.get(self._number)
                if native is None:
                    native = self._readiness.make(self._number, self.weights(), seconds)
        return native

    @property
    def uses(self) -> int:
        """Requests that use it: from when they were taken in to their last event."""
        return self._uses

    def count(self, number: int) -> None:
        """So many requests more use it."""
        with self._unused:
            self._uses += number
            self._unused.notify_all()

    def wait_until_unused(self, seconds: float | None) -> bool:
        """Wait until no request uses it; False where the time was over before."""
        with self._unused:
            return self._unused.wait_for(lambda: not self._uses, seconds)

    def weights(self) -> AdapterWeights:
        """The matrices as given, not as they are computed with; from the file, where there is one."""
        if self._given is not None:
            return self._given
        source = Path(str(self._source))
        # Before it is read: what changes meanwhile is found the next time.
        stamp = stamp_of(source)
        weights = read_adapter(source)
        if stamp != self._stamp:
            if _digest(weights) != self.digest:
                raise AdapterError(
                    f"{source} is not any more what was loaded; replace the adapter, or load it anew"
                )
            self._stamp = stamp
        return weights

    def forget(self) -> None:
        """Let its memory be used again; requests that hold it keep it."""
        self._readiness.forget(self._number)


class HeldAdapters:
    """The adapters of one request, which are ready and in use until they are let go."""

    __slots__ = ("_generations", "_natives")

    def __init__(self, generations: Iterable[Generation], seconds: float = ROOM_SECONDS) -> None:
        self._generations: tuple[Generation, ...] = ()
        wanted = tuple(generations)
        self._natives = tuple(one.ready(seconds) for one in wanted)
        for one in wanted:
            one.count(1)
        self._generations = wanted

    def let_go(self) -> None:
        """Not any more; twice is the same as once."""
        generations, self._generations, self._natives = self._generations, (), ()
        for one in generations:
            one.count(-1)

    def __del__(self) -> None:
        self.let_go()


@asynccontextmanager
async def awaiting(adapters: "Iterable[tuple[Generation, float]]") -> AsyncIterator[None]:
    """For a coroutine: the adapters are ready within, so that a request with them is begun at once.

    Files are read beside the event loop, and where requests hold all the room it is the coroutine that waits.
    """
    generations = [generation for generation, _ in adapters]
    until = time.monotonic() + ROOM_SECONDS
    while generations:
        try:
            if all(one.is_ready() for one in generations):
                held = HeldAdapters(generations, 0.0)
            else:
                held = await asyncio.to_thread(HeldAdapters, generations, 0.0)
        except OverloadedError:
            if time.monotonic() > until:
                raise
            await asyncio.sleep(LOOK_SECONDS)
            continue
        try:
            yield
        finally:
            held.let_go()
        return
    yield


@contextmanager
def holding(adapters: "Iterable[tuple[Generation, float]]") -> Iterator[HeldAdapters]:
    """The adapters of a request that is being taken in; let go where it is not.

    An event loop is not made to wait for room: where there is none, that is an `OverloadedError` at once.
    """
    held = HeldAdapters((one for one, _ in adapters), 0.0 if _in_event_loop() else ROOM_SECONDS)
    try:
        yield held
    except BaseException:
        held.let_go()
        raise


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _digest(weights: AdapterWeights) -> str:
    """Names the content: every matrix with its place, shape and scale."""
    digest = hashlib.sha256()
    for part in weights.parts:
        head = f"{part.layer}/{part.module}/{part.a.shape}/{part.b.shape}/{part.in_file_order}/"
        digest.update(head.encode() + struct.pack("<d", part.scale))
        digest.update(part.a.tobytes())
        digest.update(part.b.tobytes())
    return digest.hexdigest()
