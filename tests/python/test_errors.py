"""The error classes: prefixes, bases, messages that are not doubled."""

import copy
import pickle

import pytest

from ruvllm import errors
from ruvllm.errors import (
    BatchError,
    ConfigError,
    ContextLengthError,
    IoError,
    KernelError,
    PackError,
    RuvLLMError,
)

PREFIXES = {
    "StorageError": "Storage error",
    "SessionError": "Session error",
    "KvCacheError": "KV cache error",
    "PagedAttentionError": "Paged attention error",
    "AdapterError": "Adapter error",
    "AuthenticationError": "Authentication error",
    "SonaError": "SONA error",
    "ConfigError": "Configuration error",
    "OutOfMemoryError": "Out of memory",
    "InvalidOperationError": "Invalid operation",
    "NotFoundError": "Not found",
    "BackendError": "Backend error",
    "ModelError": "Model error",
    "TokenizationError": "Tokenization error",
    "TrainingError": "Training error",
    "EmbeddingError": "Embedding error",
    "GenerationError": "Generation error",
    "GrammarError": "Grammar error",
    "IoError": "IO error",
    "KernelError": "Kernel error",
    "PackError": "Pack error",
}
BUILTINS = {
    "AuthenticationError": PermissionError,
    "ConfigError": ValueError,
    "ContextLengthError": ValueError,
    "OutOfMemoryError": MemoryError,
    "InvalidOperationError": RuntimeError,
    "NotFoundError": LookupError,
    "BackendError": RuntimeError,
    "EmbeddingError": ValueError,
    "ModelError": ValueError,
    "InvalidModelError": ValueError,
    "TokenizationError": ValueError,
    "TrainingError": ValueError,
    "GenerationError": RuntimeError,
    "GrammarError": ValueError,
    "IoError": OSError,
    "KernelError": RuntimeError,
    "PackError": ValueError,
}
CLASSES = [name for name in errors.__all__ if name != "RuvLLMError"]


def test_one_class_a_documented_variant() -> None:
    assert set(PREFIXES) | {
        "InvalidModelError",
        "ContextLengthError",
        "BatchError",
        "OverloadedError",
    } == set(CLASSES)


@pytest.mark.parametrize("name", CLASSES)
def test_message(name: str) -> None:
    kind = getattr(errors, name)
    prefix = PREFIXES.get(name, kind.__mro__[1].prefix)
    assert issubclass(kind, RuvLLMError)
    assert issubclass(kind, BUILTINS.get(name, Exception))
    assert str(kind("what happened")) == f"{prefix}: what happened"
    # The engine's messages have the prefix already.
    assert str(kind(f"{prefix}: what happened")) == f"{prefix}: what happened"


@pytest.mark.parametrize("name", CLASSES)
def test_copies(name: str) -> None:
    error = getattr(errors, name)("what happened")
    for made in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(made) is type(error)
        assert str(made) == str(error)


def test_the_two_numbers() -> None:
    error = ContextLengthError.exceeded(prompt_tokens=5000, max_context=4096)
    assert str(error) == "Configuration error: the prompt has 5000 tokens, but the context holds 4096"
    made = pickle.loads(pickle.dumps(error))
    assert (made.prompt_tokens, made.max_context) == (5000, 4096)


def test_why_a_pack_was_refused() -> None:
    error = PackError.refused("HashMismatch", "kernel rope_f32: another hash")
    assert str(error) == "Pack error: kernel rope_f32: another hash"
    assert pickle.loads(pickle.dumps(error)).reason == "HashMismatch"
    assert KernelError("x").kind is None


def test_built_in_handlers_catch() -> None:
    with pytest.raises(ValueError, match="Configuration error: x"):
        raise ConfigError("x")
    with pytest.raises(OSError, match="IO error: x"):
        raise IoError("x")


def test_a_batch_keeps_what_it_has() -> None:
    error = BatchError.of(["a", None], {1: IoError("gone")})
    assert str(error) == "Generation error: 1 of 2 inputs failed, the first of them input 1: IO error: gone"
    made = pickle.loads(pickle.dumps(error))
    assert made.completions == ("a", None)
    assert list(made.errors) == [1]
