"""A tenant's learned state as a safetensors file, and back; nothing in a file is believed unchecked.

The head's metadata has all that is no matrix, the digest of the model that it was learned on, and a digest of
the rest of the metadata and of the matrices, so that one wrong bit is found.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from ruvllm._checks import Interval, check_integer, check_number
from ruvllm.errors import ConfigError, StorageError
from ruvllm.learning.lineage import Lineage
from ruvllm.learning.tenant_state import MATRICES, TenantState

__all__ = ["MAX_BYTES", "DamagedStateError", "SavedState", "check_state", "read_state", "written_state"]

FORMAT = "1"
# Of one file: rank 2 for a hidden size of 65,536 is half of it.
MAX_BYTES = 16 * 1024**2
# Of the metadata; a tenant's name is in it.
MAX_HEAD_BYTES = 64 * 1024
MAX_TENANT_CHARACTERS = 4096
MAX_RANK = 64
# Generations before it that a file names.
MAX_EARLIER = 1024
# Ten digits in a file's name.
MAX_NUMBER = 10**10 - 1
_FINITE = Interval(-math.inf, math.inf)


class DamagedStateError(StorageError):
    """What is there is not what was written."""


@dataclass(frozen=True, slots=True)
class SavedState:
    """What a file holds.

    Attributes:
        state: The state.
        model: The digest of the model that it was learned on.
        earlier: The generations that it can be undone to, the oldest first.
        lineage: What led to it, where others teach the same tenant.
    """

    state: TenantState
    model: str
    earlier: tuple[int, ...] = ()
    lineage: Lineage = field(default_factory=dict)


def check_state(state: TenantState) -> None:
    """Raise `ConfigError` where a state is none: shapes that do not fit, what is no finite number."""
    if len(state.tenant) > MAX_TENANT_CHARACTERS:
        raise ConfigError(
            f"the tenant's name has {len(state.tenant)} characters; it may have {MAX_TENANT_CHARACTERS}"
        )
    for name in ("generation", "feedback", "updates"):
        check_integer(name, getattr(state, name), 0, MAX_NUMBER)
    if state.deep is not None:
        check_integer("deep", state.deep, 1, MAX_NUMBER)
    for name in ("scale", "baseline"):
        check_number(name, getattr(state, name), _FINITE)
    shape = np.shape(state.a)
    if len(shape) != 2 or not 1 <= shape[0] <= MAX_RANK or shape[1] < 1:
        raise ConfigError(f"a is {shape}; it must be [rank, hidden] with a rank from 1 to {MAX_RANK}")
    for name in MATRICES:
        matrix: NDArray[Any] = getattr(state, name)
        if matrix.shape != shape or matrix.dtype != np.float32:
            raise ConfigError(f"{name} is {matrix.dtype} {matrix.shape}; it must be float32 {shape}, as a is")
        if not np.isfinite(matrix).all():
            raise ConfigError(f"{name} holds what is no finite number")
        if name.startswith("fisher") and (matrix < 0).any():
            raise ConfigError(f"{name} holds a negative importance")


def written_state(saved: SavedState) -> bytes:
    """The file of a state; `ConfigError` where `check_state` does not accept it."""
    state = saved.state
    check_state(state)
    metadata = {
        "format": FORMAT,
        "model": saved.model,
        "earlier": json.dumps(saved.earlier[-MAX_EARLIER:]),
        # JSON in a text: names may have characters that UTF-8 cannot say.
        "tenant": json.dumps(state.tenant),
        "generation": str(int(state.generation)),
        "feedback": str(int(state.feedback)),
        "updates": str(int(state.updates)),
        "scale": float(state.scale).hex(),
        "baseline": float(state.baseline).hex(),
    }
    if state.deep is not None:
        metadata["deep"] = str(int(state.deep))
    if saved.lineage:
        metadata["lineage"] = json.dumps(dict(saved.lineage))
    matrices = {name: np.ascontiguousarray(getattr(state, name)) for name in MATRICES}
    data: bytes = save(matrices, metadata={**metadata, "digest": _digest(metadata, matrices)})
    if len(data) > MAX_BYTES:
        raise ConfigError(f"the state of a tenant has {len(data)} bytes; it may have {MAX_BYTES}")
    return data


def read_state(data: bytes) -> SavedState:
    """The state of a file; `DamagedStateError` for what is none, `StorageError` for another version's."""
    try:
        metadata = _metadata(data)
        matrices = load(data)
        if metadata.pop("digest", None) != _digest(metadata, matrices):
            raise ValueError("its digest is another than when it was written")
        if metadata["format"] != FORMAT:
            raise StorageError(f"it has format {metadata['format'][:20]!r}; {FORMAT!r} is read")
        if set(matrices) != set(MATRICES):
            raise ValueError(f"it has the matrices {', '.join(sorted(matrices))[:200]}")
        for matrix in matrices.values():
            matrix.flags.writeable = False
        state = TenantState(
            tenant=json.loads(metadata["tenant"]),
            generation=int(metadata["generation"]),
            feedback=int(metadata["feedback"]),
            updates=int(metadata["updates"]),
            scale=float.fromhex(metadata["scale"]),
            baseline=float.fromhex(metadata["baseline"]),
            deep=int(metadata["deep"]) if "deep" in metadata else None,
            **matrices,
        )
        check_state(state)
        earlier = _earlier(metadata["earlier"], state.generation)
        return SavedState(state, metadata["model"], earlier, _lineage(metadata.get("lineage", "{}")))
    except (SafetensorError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
        raise DamagedStateError(f"it is no state of a tenant: {error}") from error
    except RecursionError as error:
        raise DamagedStateError("it is no state of a tenant: its JSON is too deep") from error


def _earlier(text: str, generation: int) -> tuple[int, ...]:
    numbers = json.loads(text)
    rising = [*numbers, generation]
    if not all(type(one) is int for one in rising) or sorted(set(rising)) != rising or rising[0] < 0:
        raise ValueError(f"the generations before {generation} are {text[:100]}")
    return tuple(numbers)


def _lineage(text: str) -> Lineage:
    lineage = json.loads(text)
    if type(lineage) is not dict or not all(type(one) is int and one >= 0 for one in lineage.values()):
        raise ValueError(f"its lineage is {text[:100]}")
    return lineage


def _metadata(data: bytes) -> dict[str, str]:
    head_bytes = int.from_bytes(data[:8], "little")
    if not 0 < head_bytes <= min(MAX_HEAD_BYTES, len(data) - 8):
        raise ValueError(f"its head has {head_bytes} bytes")
    metadata = json.loads(data[8 : 8 + head_bytes])["__metadata__"]
    return {str(name): str(value) for name, value in metadata.items()}


def _digest(metadata: Mapping[str, str], matrices: Mapping[str, NDArray[Any]]) -> str:
    digest = hashlib.blake2b(json.dumps(metadata, sort_keys=True).encode("ascii"), digest_size=32)
    for name, matrix in sorted(matrices.items()):
        digest.update(f"{name} {matrix.dtype.str} {matrix.shape} ".encode("ascii"))
        digest.update(np.ascontiguousarray(matrix).tobytes())
    return digest.hexdigest()
