"""An adapter's matrices, as its file has them: what is read, and nothing about any model yet."""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["MAX_RANK", "AdapterWeights", "Matrix", "Part"]

# What has a higher one is no adapter, and its file is not believed.
MAX_RANK = 4096

# As its file has it: to widen half a million numbers takes longer than to read them.
Matrix: TypeAlias = NDArray[np.float32] | NDArray[np.float16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What is added to one linear map: `scale * b @ a`.

    Attributes:
        layer: Which layer.
        module: Which map of it, by the name that PEFT has for it, as `q_proj`.
        a: `[rank, inputs]`
        b: `[outputs, rank]`
        scale: `alpha / rank`, most often.
        in_file_order: Whether rows of `b` for Q and K stand as in a GGUF file of the model.
    """

    layer: int
    module: str
    a: Matrix
    b: Matrix
    scale: float
    in_file_order: bool = False

    @property
    def rank(self) -> int:
        """Rows of `a`, columns of `b`."""
        return int(self.a.shape[0])

    def delta(self) -> NDArray[np.float32]:
        """What is added to the map's matrix, whole."""
        product = self.b.astype(np.float32) @ self.a.astype(np.float32)
        scaled: NDArray[np.float32] = np.float32(self.scale) * product
        return scaled


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterWeights:
    """A whole adapter.

    Attributes:
        parts: Its matrices, in order of layer and module.
        base_model: What it was made for, as it says itself.
        architecture: What that must be, by GGUF's name; `None` where the adapter does not say.
        source: Where it was read; `None` where it was made in memory.
    """

    parts: tuple[Part, ...]
    base_model: str | None = None
    architecture: str | None = None
    source: Path | None = None

    @property
    def max_rank(self) -> int:
        """The largest of its ranks."""
        return max(part.rank for part in self.parts)

    @property
    def modules(self) -> tuple[str, ...]:
        """The maps that it changes, somewhere."""
        return tuple(sorted({part.module for part in self.parts}))
