"""The adapters of one loaded model: names, and what each stands for at the moment.

A name stands for a generation, which never changes: replacing gives the name another one, and requests that
run keep theirs. What was computed under a generation is known under its number alone.
"""

import math
import os
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import ruvllm._native as _native
from ruvllm.adapters.generation import Generation, Readiness
from ruvllm.adapters.merging import MergeMethod, merge
from ruvllm.adapters.peft_writer import write_peft
from ruvllm.adapters.saved_list import SavedAdapter, read_list, write_list
from ruvllm.adapters.weights import AdapterWeights
from ruvllm.errors import AdapterError, ConfigError, NotFoundError

__all__ = [
    "AdapterChoice",
    "AdapterInfo",
    "AdapterMemory",
    "Adapters",
    "ChosenAdapters",
    "WhenUsed",
    "is_one_choice",
]

# What a caller may say: one by its name, several with scales, or none.
AdapterChoice: TypeAlias = str | Mapping[str, float] | None
# The same, as it was when it was said.
ChosenAdapters: TypeAlias = tuple[tuple[Generation, float], ...]


def is_one_choice(adapter: object) -> bool:
    """Whether it is one request's choice, and no list of them."""
    return adapter is None or isinstance(adapter, str | Mapping)


# What unloading does where requests use the adapter.
WhenUsed: TypeAlias = Literal["forget", "refuse", "wait"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,127}")
# Of each layer, in every model; some files have several in one.
MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
# Adapters on one request.
MAX_AT_ONCE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterInfo:
    """An adapter that is loaded.

    Attributes:
        name: What requests call it.
        generation: The digest of its content, in hexadecimal digits: another content is another generation.
        rank: The largest of its ranks.
        modules: The linear maps that it changes.
        num_bytes: What it takes in memory while it is ready.
        base_model: What it was made for, as it says itself.
        source: Where it was read; `None` where it came from memory.
        tenant: Whose it is alone: nobody else's requests can name it. `None` is everybody's.
    """

    name: str
    generation: str
    rank: int
    modules: tuple[str, ...]
    num_bytes: int
    base_model: str | None
    source: Path | None
    tenant: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterMemory:
    """What adapters take of the memory that they share with keys and values.

    Attributes:
        ready: How many are ready to be computed with.
        ready_bytes: Bytes of their matrices.
        used_bytes: Bytes of the pages that they stand on.
        max_bytes: The most that those may be.
        made: How often one was made ready, from its file or what was given.
        evicted: How often one had to go, for another or for keys and values.
    """

    ready: int
    ready_bytes: int
    used_bytes: int
    max_bytes: int
    made: int
    evicted: int


@dataclass(frozen=True, slots=True)
class _Loaded:
    """What a name stands for; `pinned` keeps it ready."""

    info: AdapterInfo
    generation: Generation
    pinned: "_native.Adapter | None" = None


# So many of them stand in what `repr` gives.
SHOWN_NAMES = 3


class Adapters:
    """What `LLM.adapters` is. Every method may be called from any thread."""

    def __init__(self, readiness: Readiness) -> None:
        self._readiness = readiness
        self._lock = threading.Lock()
        self._known: dict[str, _Loaded] = {}
        self._list: Path | None = None

    def __repr__(self) -> str:
        names = list(self._known)
        more = len(names) - SHOWN_NAMES
        shown = [f"{name!r:.32}" for name in names[:SHOWN_NAMES]]
        return f"Adapters({', '.join([*shown, *([f'and {more} more'] if more > 0 else [])])})"

    def keep_list(self, path: str | os.PathLike[str]) -> None:
        """Load what a list on disk names, and write it anew at each change: a restart has the same adapters.

        Those that came from memory have no folder and are not on it. What has changed since, or is not
        there any more, is an `AdapterError`, and nothing is loaded.
        """
        saved, loaded = read_list(Path(path)), []
        try:
            for one in saved:
                info = self.load(one.name, one.source)
                loaded.append(one.name)
                if info.generation != one.generation:
                    raise AdapterError(f"{one.source} is not any more what was loaded as {one.name!r}")
        except Exception:
            for name in loaded:
                self.unload(name)
            raise
        with self._lock:
            self._list = Path(path)
            self._save()

    def load(
        self, name: str, source: str | os.PathLike[str] | AdapterWeights, *, tenant: str | None = None
    ) -> AdapterInfo:
        """Load a folder of PEFT's, or a GGUF file, under a name that is free.

            llm.adapters.load("tone", "adapters/tone")

        Args:
            name: What requests call it.
            source: A folder with `adapter_config.json` and `adapter_model.safetensors`, a `.gguf` file, the
                Hub's `hf://org/repo`, or matrices.
            tenant: Whose requests alone may name it; everybody's where it is left out.
        """
        return self._put(name, source, expects=None, tenant=tenant)

    def replace(
        self,
        name: str,
        source: str | os.PathLike[str] | AdapterWeights,
        *,
        expected_generation: str | None = None,
    ) -> AdapterInfo:
        """Give a name another content; requests that run keep the one that they began with.

        With an `expected_generation` only where the name still stands for that one.
        """
        return self._put(name, source, expects=expected_generation or "")

    def unload(self, name: str, *, when_used: WhenUsed = "forget", timeout: float | None = None) -> None:
        """Forget a name; requests that were taken in before keep what it stood for.

        Args:
            name: What is forgotten.
            when_used: What becomes of it where such requests have not ended: `forget` returns at once,
                `refuse` is an error and leaves the name, `wait` returns when the last has ended.
            timeout: So many seconds `wait` waits; then it is an error, and the name is forgotten anyway.
        """
        if when_used not in get_args(WhenUsed):
            raise ConfigError(
                f"when_used is {when_used!r}; it must be one of {', '.join(get_args(WhenUsed))}"
            )
        with self._lock:
            generation = self._find(name).generation
            if when_used == "refuse" and (count := generation.uses):
                raise AdapterError(f"the adapter {name!r} is in use by {count} requests")
            self._forget(self._known.pop(name))
            self._save()
        if when_used == "wait" and not generation.wait_until_unused(timeout):
            count = generation.uses
            raise AdapterError(f"{name!r} is forgotten; after {timeout} s {count} requests still use it")

    def alias(self, name: str, known: str) -> AdapterInfo:
        """Let a name that is free stand for what another stands for now."""
        _check_name(name)
        with self._lock:
            found = self._find(known)
            self._check_free(name)
            info = replace(found.info, name=name)
            self._known[name] = _Loaded(info, found.generation)
            self._save()
        return info

    def pin(self, name: str, *, pinned: bool = True) -> None:
        """Keep an adapter ready, whoever needs memory; or do not any more."""
        with self._lock:
            generation = self._find(name).generation
        held = generation.ready() if pinned else None
        with self._lock:
            found = self._find(name)
            if found.generation is not generation:
                raise AdapterError(f"the adapter {name!r} was replaced meanwhile")
            self._known[name] = replace(found, pinned=held)

    def memory(self) -> AdapterMemory:
        """What adapters take of the memory."""
        return AdapterMemory(**self._readiness.figures())

    def list(self) -> "list[AdapterInfo]":
        """All that are loaded, by name."""
        with self._lock:
            return [loaded.info for _, loaded in sorted(self._known.items())]

    def info(self, name: str) -> AdapterInfo:
        """What a name stands for."""
        with self._lock:
            return self._find(name).info

    def map_shapes(self) -> dict[tuple[int, str], tuple[int, int]]:
        """Inputs and outputs of the seven linear maps of each layer, by layer and PEFT's name."""
        self._readiness.require()
        model = self._readiness.model
        shapes = {module: model.map_shape(module) for module in MODULES}
        layers = range(model.num_layers)
        return {(layer, module): shape for layer in layers for module, shape in shapes.items()}

    def merge(
        self,
        name: str,
        adapters: Mapping[str, float],
        method: MergeMethod = "linear",
        *,
        density: float = 0.5,
        rank: int | None = None,
        seed: int = 0,
    ) -> AdapterInfo:
        """Make a new adapter of several with weights, and load it under a name that is free.

            llm.adapters.merge("both", {"tone": 0.7, "law": 0.3}, "ties", density=0.2)

        The methods, and what the other arguments are for, stand at `ruvllm.adapters.merge`.
        """
        with self._lock:
            chosen = [(self._find(one), weight) for one, weight in adapters.items()]
        given = [(one.generation.weights(), weight) for one, weight in chosen]
        return self.load(name, merge(given, method, density=density, rank=rank, seed=seed))

    def export(self, name: str, folder: str | os.PathLike[str]) -> Path:
        """Write an adapter as a folder of PEFT's, which must not have one yet."""
        with self._lock:
            loaded = self._find(name)
        write_peft(loaded.generation.weights(), Path(folder))
        return Path(folder)

    def chosen(self, choice: AdapterChoice, tenant: str | None = None) -> ChosenAdapters:
        """What the `adapter` of a tenant's request means now; others' own are as if they were not there."""
        if choice is None:
            return ()
        scales = {choice: 1.0} if isinstance(choice, str) else choice
        if not all(_is_scale(scale) for scale in scales.values()):
            raise ConfigError(f"adapter is {choice!r}; it must be a name, or names with scales")
        if len(scales) > MAX_AT_ONCE:
            raise ConfigError(f"{len(scales)} adapters on one request; at most {MAX_AT_ONCE} are")
        with self._lock:
            found = [(self._found_by(name, tenant), float(scale)) for name, scale in scales.items() if scale]
        num_bytes, most = sum(one.info.num_bytes for one, _ in found), self._readiness.max_bytes
        if len(found) > 1 and num_bytes > most:
            raise ConfigError(
                f"the adapters of one request take {num_bytes} bytes together, and all may have {most}; "
                "raise adapter_bytes"
            )
        return tuple((one.generation, scale) for one, scale in found)

    def _put(
        self,
        name: str,
        source: str | os.PathLike[str] | AdapterWeights,
        *,
        expects: str | None,
        tenant: str | None = None,
    ) -> AdapterInfo:
        self._readiness.require()
        _check_name(name)
        generation, weights = Generation.of(source, self._readiness)
        native = generation.made(weights)
        info = AdapterInfo(
            name=name,
            generation=generation.digest,
            rank=weights.max_rank,
            modules=weights.modules,
            num_bytes=native.num_bytes,
            base_model=weights.base_model,
            source=weights.source,
            tenant=tenant,
        )
        with self._lock:
            if expects is None:
                self._check_free(name)
            else:
                found = self._find(name)
                if expects not in ("", found.info.generation):
                    raise AdapterError(
                        f"the adapter {name!r} is of generation {found.info.generation}, and not {expects}"
                    )
            before = self._known.get(name)
            if before is not None:
                info = replace(info, tenant=before.info.tenant)
            pinned = native if before is not None and before.pinned is not None else None
            self._known[name] = _Loaded(info, generation, pinned)
            if before is not None:
                self._forget(before)
            self._save()
        return info

    def _save(self) -> None:
        """Write the list, where one is kept; what is a tenant's alone is kept by whoever made it."""
        if self._list is not None:
            infos = (one.info for one in self._known.values() if one.info.tenant is None)
            named = ((one.name, one.source, one.generation) for one in infos)
            write_list(
                self._list, [SavedAdapter(name, at, digest) for name, at, digest in named if at is not None]
            )

    def _forget(self, loaded: _Loaded) -> None:
        """Let the memory of what no name stands for any more be used again."""
        digests = {one.generation.digest for one in self._known.values()}
        if loaded.generation.digest not in digests:
            loaded.generation.forget()

    def _check_free(self, name: str) -> None:
        if name in self._known:
            raise AdapterError(f"the adapter {name!r} is loaded already; replace it, or unload it first")

    def _found_by(self, name: str, tenant: str | None) -> _Loaded:
        """What a name stands for to a tenant's request."""
        found = self._find(name)
        if found.info.tenant not in (None, tenant):
            raise self._not_found(name)
        return found

    def _find(self, name: str) -> _Loaded:
        found = self._known.get(name)
        if found is None:
            raise self._not_found(name)
        return found

    def _not_found(self, name: str) -> NotFoundError:
        known = sorted(name for name, one in self._known.items() if one.info.tenant is None)[:8]
        others = f"there are {', '.join(known)}" if known else "none is loaded"
        return NotFoundError(f"there is no adapter {name!r}; {others}")


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ConfigError(f"an adapter's name is {name!r}; it must be letters, digits and . _ - /, up to 128")


def _is_scale(scale: object) -> bool:
    return isinstance(scale, int | float) and not isinstance(scale, bool) and math.isfinite(scale)
