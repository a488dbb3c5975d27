"""Models on candle, and on the native engine beside it."""

from pathlib import Path
from typing import Any

from ruvllm import LLM
from tests.conftest import FIXTURES

FOLDERS = FIXTURES / "models"
FILES = FIXTURES / "gguf"


def on_candle(path: Path, **settings: Any) -> LLM:
    return LLM(path, backend="candle", progress=False, **settings)


def natively(path: Path, **settings: Any) -> LLM:
    """With nothing rounded on the way."""
    return LLM(path, activations="f32", progress=False, **settings)
