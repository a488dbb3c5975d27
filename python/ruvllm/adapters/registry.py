"""The adapters of one loaded model: names, and what each stands for at the moment.

A name stands for a generation, which never changes: replacing gives the name another one, and requests that
run keep theirs. What was computed under a generation is known under its number alone.
"""

import hashlib
import math
import os
import re
import struct
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import ruvllm._native as _native
from ruvllm.adapters.merging import MergeMethod, merge
from ruvllm.adapters.peft_folder import CONFIG, read_peft
from ruvllm.adapters.peft_writer import write_peft
from ruvllm.adapters.weights import AdapterWeights
from ruvllm.errors import AdapterError, ConfigError, NotFoundError

__all__ = ["AdapterChoice", "AdapterInfo", "Adapters", "ChosenAdapters"]

# What a caller may say: one by its name, several with scales, or none.
AdapterChoice: TypeAlias = str | Mapping[str, float] | None
# The same as the engine takes it.
ChosenAdapters: TypeAlias = "tuple[tuple[_native.Adapter, float], ...]"

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
        num_bytes: What it takes in memory.
        base_model: What it was made for, as it says itself.
        source: Where it was read; `None` where it came from memory.
    """

    name: str
    generation: str
    rank: int
    modules: tuple[str, ...]
    num_bytes: int
    base_model: str | None
    source: Path | None


@dataclass(frozen=True, slots=True)
class _Loaded:
    """An adapter that has a name; its matrices as they were given, where no file has them."""

    info: AdapterInfo
    native: _native.Adapter
    weights: AdapterWeights | None

    def given(self) -> AdapterWeights:
        """The matrices, not as they are computed with; from the file, where there is one."""
        if self.weights is not None:
            return self.weights
        weights = _read(Path(str(self.info.source)))
        if _digest(weights) != self.info.generation:
            raise AdapterError(f"{self.info.source} is not any more what was loaded as {self.info.name!r}")
        return weights


class Adapters:
    """What `LLM.adapters` is. Every method may be called from any thread."""

    def __init__(self, model: _native.Model) -> None:
        self._model = model
        self._lock = threading.Lock()
        self._known: dict[str, _Loaded] = {}

    def load(self, name: str, source: str | os.PathLike[str] | AdapterWeights) -> AdapterInfo:
        """Load a folder of PEFT's under a name that is free.

            llm.adapters.load("tone", "adapters/tone")

        Args:
            name: What requests call it.
            source: A folder with `adapter_config.json` and `adapter_model.safetensors`, or matrices.
        """
        return self._put(name, source, expects=None)

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

    def unload(self, name: str) -> None:
        """Forget a name; requests that run keep what it stood for."""
        with self._lock:
            self._find(name)
            del self._known[name]

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
        shapes = {module: self._model.map_shape(module) for module in MODULES}
        layers = range(self._model.num_layers)
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
        given = [(one.given(), weight) for one, weight in chosen]
        return self.load(name, merge(given, method, density=density, rank=rank, seed=seed))

    def export(self, name: str, folder: str | os.PathLike[str]) -> Path:
        """Write an adapter as a folder of PEFT's, which must not have one yet."""
        with self._lock:
            loaded = self._find(name)
        write_peft(loaded.given(), Path(folder))
        return Path(folder)

    def chosen(self, choice: AdapterChoice) -> ChosenAdapters:
        """What a request's `adapter` means now."""
        if choice is None:
            return ()
        scales = {choice: 1.0} if isinstance(choice, str) else choice
        if not all(_is_scale(scale) for scale in scales.values()):
            raise ConfigError(f"adapter is {choice!r}; it must be a name, or names with scales")
        if len(scales) > MAX_AT_ONCE:
            raise ConfigError(f"{len(scales)} adapters on one request; at most {MAX_AT_ONCE} are")
        with self._lock:
            return tuple((self._find(name).native, float(scale)) for name, scale in scales.items() if scale)

    def _put(
        self, name: str, source: str | os.PathLike[str] | AdapterWeights, *, expects: str | None
    ) -> AdapterInfo:
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f"an adapter's name is {name!r}; it must be letters, digits and . _ - /, up to 128"
            )
        weights = source if isinstance(source, AdapterWeights) else _read(Path(source))
        generation = _digest(weights)
        native = _native.Adapter(self._model, weights.parts, generation=_number_of(generation))
        info = AdapterInfo(
            name=name,
            generation=generation,
            rank=weights.max_rank,
            modules=weights.modules,
            num_bytes=native.num_bytes,
            base_model=weights.base_model,
            source=weights.source,
        )
        with self._lock:
            if expects is None and name in self._known:
                raise AdapterError(f"the adapter {name!r} is loaded already; replace it, or unload it first")
            if expects is not None:
                found = self._find(name).info.generation
                if expects not in ("", found):
                    raise AdapterError(f"the adapter {name!r} is of generation {found}, and not {expects}")
            self._known[name] = _Loaded(info, native, weights if weights.source is None else None)
        return info

    def _find(self, name: str) -> _Loaded:
        found = self._known.get(name)
        if found is None:
            known: Sequence[str] = sorted(self._known)[:8]
            others = f"there are {', '.join(known)}" if known else "none is loaded"
            raise NotFoundError(f"there is no adapter {name!r}; {others}")
        return found


def _read(path: Path) -> AdapterWeights:
    if not path.is_dir():
        raise AdapterError(f"{path} is no folder with {CONFIG}")
    return read_peft(path)


def _is_scale(scale: object) -> bool:
    return isinstance(scale, int | float) and not isinstance(scale, bool) and math.isfinite(scale)


def _digest(weights: AdapterWeights) -> str:
    """Names the content: every matrix with its place, shape and scale."""
    digest = hashlib.sha256()
    for part in weights.parts:
        head = f"{part.layer}/{part.module}/{part.a.shape}/{part.b.shape}/{part.in_file_order}/"
        digest.update(head.encode() + struct.pack("<d", part.scale))
        digest.update(part.a.tobytes())
        digest.update(part.b.tobytes())
    return digest.hexdigest()


def _number_of(generation: str) -> int:
    """By which the engine knows it; 0 is the model alone."""
    return int(generation[:16], 16) or 1
