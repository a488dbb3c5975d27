"""What can go wrong, as exception classes. Imports nothing.

Each class is a `RuvLLMError` and, where one fits, a built-in error, so that `except ValueError` works too.
The message always has the form `"<prefix>: <what>"`; a message that begins with the prefix (the engine's do)
is kept as it is.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

__all__ = [
    "AdapterError",
    "AuthenticationError",
    "BackendError",
    "BatchError",
    "ConfigError",
    "ContextLengthError",
    "EmbeddingError",
    "GenerationError",
    "GrammarError",
    "InvalidModelError",
    "InvalidOperationError",
    "IoError",
    "KernelError",
    "KvCacheError",
    "ModelError",
    "NotFoundError",
    "OutOfMemoryError",
    "OverloadedError",
    "PackError",
    "PagedAttentionError",
    "RuvLLMError",
    "SessionError",
    "SonaError",
    "StorageError",
    "TokenizationError",
    "TrainingError",
]


class RuvLLMError(Exception):
    """The base of every error that this package raises on purpose.

    >>> str(ConfigError("threads is 0; it must be 1 or more"))
    'Configuration error: threads is 0; it must be 1 or more'
    """

    prefix: ClassVar[str] = "RuvLLM error"

    def __init__(self, message: str = "") -> None:
        lead = f"{self.prefix}: "
        self.message = message if message.startswith(lead) else lead + message
        super().__init__(self.message)

    def __str__(self) -> str:
        return self.message


class StorageError(RuvLLMError):
    """What is kept on disk could not be read or written as it should."""

    prefix = "Storage error"


class SessionError(RuvLLMError):
    """A conversation's state does not allow this."""

    prefix = "Session error"


class KvCacheError(RuvLLMError):
    """The key-value cache cannot hold or give what was asked."""

    prefix = "KV cache error"


class PagedAttentionError(RuvLLMError):
    """A block table and its blocks do not fit together."""

    prefix = "Paged attention error"


class AdapterError(RuvLLMError):
    """An adapter cannot be loaded, or does not fit the model."""

    prefix = "Adapter error"


class SonaError(RuvLLMError):
    """A learning loop could not run."""

    prefix = "SONA error"


class TrainingError(RuvLLMError, ValueError):
    """A fine-tune cannot run or go on: its examples, its checkpoint, or numbers that diverged."""

    prefix = "Training error"


class ConfigError(RuvLLMError, ValueError):
    """A setting is outside its range; the message names it, its value and what is allowed."""

    prefix = "Configuration error"


class ContextLengthError(ConfigError):
    """A prompt is longer than the context.

    `prompt_tokens` and `max_context` are the two numbers, where they are known.
    """

    prompt_tokens: int | None = None
    max_context: int | None = None

    @classmethod
    def exceeded(cls, *, prompt_tokens: int, max_context: int, room: str = "") -> "ContextLengthError":
        """Make the error out of its two numbers; `room` says what else must fit."""
        error = cls(f"the prompt has {prompt_tokens} tokens{room}, but the context holds {max_context}")
        error.prompt_tokens = prompt_tokens
        error.max_context = max_context
        return error


class AuthenticationError(RuvLLMError, PermissionError):
    """A server wants an API key, or another one than it was given."""

    prefix = "Authentication error"


class OutOfMemoryError(RuvLLMError, MemoryError):
    """The memory that is left, or the budget that was set, is too small."""

    prefix = "Out of memory"


class InvalidOperationError(RuvLLMError, RuntimeError):
    """The call does not fit the object's state: closed, forked, not loaded."""

    prefix = "Invalid operation"


class NotFoundError(RuvLLMError, LookupError):
    """A model, file or name does not exist."""

    prefix = "Not found"


class BackendError(RuvLLMError, RuntimeError):
    """The engine underneath failed."""

    prefix = "Backend error"


class OverloadedError(BackendError):
    """Too many requests wait already; this one may be sent again later.

    `retry_after_seconds` is when there should be room, by the speed that was measured.
    """

    retry_after_seconds: float | None = None

    @classmethod
    def full(cls, *, waiting: int, retry_after_seconds: float) -> "OverloadedError":
        """Make the error out of its two numbers."""
        error = cls(f"{waiting} requests wait already; try again in {retry_after_seconds:.0f} s")
        error.retry_after_seconds = retry_after_seconds
        return error


class ModelError(RuvLLMError, ValueError):
    """A model cannot be used: unknown architecture, missing weight, wrong shape."""

    prefix = "Model error"


class InvalidModelError(ModelError):
    """A model's file is damaged or lies about itself."""


class TokenizationError(RuvLLMError, ValueError):
    """Text could not be turned into tokens, or tokens into text; chat templates included."""

    prefix = "Tokenization error"


class GenerationError(RuvLLMError, RuntimeError):
    """A request failed while it ran."""

    prefix = "Generation error"


class GrammarError(RuvLLMError, ValueError):
    """A grammar or a JSON schema cannot be honoured as it stands; no weaker one takes its place.

    `pointer` is the JSON pointer to what is wrong in a schema: empty for the whole, and `None` where what is
    wrong is no schema.
    """

    prefix = "Grammar error"

    def __init__(self, message: str = "", pointer: str | None = None) -> None:
        super().__init__(message)
        self.pointer = pointer


class EmbeddingError(RuvLLMError, ValueError):
    """What should have been embeddings are none: of another shape, without a direction, not finite."""

    prefix = "Embedding error"


class BatchError(GenerationError):
    """Some inputs of a batch have no answer; those that have one are not lost.

    Attributes:
        completions: The answers in the order of the inputs, `None` where there is none.
        errors: What went wrong, by the index of the input.
    """

    completions: tuple[Any, ...] = ()
    errors: Mapping[int, Exception] = {}

    @classmethod
    def of(cls, completions: Sequence[Any], errors: Mapping[int, Exception]) -> "BatchError":
        """Make the error out of what came of each input."""
        index = min(errors)
        error = cls(
            f"{len(errors)} of {len(completions)} inputs failed, the first of them input {index}: "
            f"{errors[index]}"
        )
        error.completions = tuple(completions)
        error.errors = dict(errors)
        return error


class PackError(RuvLLMError, ValueError):
    """A kernel pack was refused; nothing of it has run, and the active pack is as it was.

    `reason` names the rule, as `NoTrustedKey` or `HashMismatch`; docs/kernel-packs.md lists them.
    """

    prefix = "Pack error"
    reason: str | None = None

    @classmethod
    def refused(cls, reason: str, message: str) -> "PackError":
        """Make the error out of the rule's name and what is to be said."""
        error = cls(message)
        error.reason = reason
        return error


class KernelError(RuvLLMError, RuntimeError):
    """A pack's kernel trapped, or gave an error code.

    `kind` is what happened, as `EpochDeadline` or `KernelTrap`; `code` what the kernel returned, if it did.
    """

    prefix = "Kernel error"
    kind: str | None = None
    code: int | None = None


class IoError(RuvLLMError, OSError):
    """A file or the network could not be read or written."""

    prefix = "IO error"
