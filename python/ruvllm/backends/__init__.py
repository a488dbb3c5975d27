"""Engines behind one face: `LlmBackend` for texts, `runtime.backend.Backend` for all that stands on `LLM`."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ruvllm.backends.base import LlmBackend
    from ruvllm.backends.engine import EngineBackend
    from ruvllm.backends.native import NativeBackend

__all__ = ["EngineBackend", "LlmBackend", "NativeBackend"]

# The engine itself asks `registry`, in this room, and must not load what stands over it.
_LATE = {
    "EngineBackend": "ruvllm.backends.engine",
    "LlmBackend": "ruvllm.backends.base",
    "NativeBackend": "ruvllm.backends.native",
}


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module 'ruvllm.backends' has no attribute {name!r}")
    return getattr(importlib.import_module(_LATE[name]), name)
