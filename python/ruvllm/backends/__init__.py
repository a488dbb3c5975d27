"""Engines behind one face, `LlmBackend`."""

from ruvllm.backends.base import LlmBackend
from ruvllm.backends.native import NativeBackend

__all__ = ["LlmBackend", "NativeBackend"]
