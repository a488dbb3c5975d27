"""What calls give back: plain values that do not change."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ruvllm.types import DeviceType, ModelSize

__all__ = [
    "Chunk",
    "Completion",
    "FinishReason",
    "MemoryStats",
    "ModelInfo",
    "Timings",
    "TokenLogprob",
    "Usage",
]

FinishReason = Literal["stop", "length", "cancelled"]
"""`stop`: an end token or a stop sequence; `length`: max_tokens or the end of the context."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens that a request counted.

    >>> Usage(prompt_tokens=10, completion_tokens=5).total_tokens
    15

    Attributes:
        prompt_tokens: Tokens of the prompt, the cached ones included.
        completion_tokens: Tokens that were made.
        cached_tokens: Tokens of the prompt that were not computed again.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        """Prompt and completion."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """When a request's tokens came, in seconds since it was submitted.

    Attributes:
        first_token_seconds: Until the first token: waiting and the prompt's computation.
        total_seconds: Until the end.
        computed_prompt_tokens: Tokens of the prompt that were computed.
        completion_tokens: Tokens that were made.
    """

    first_token_seconds: float
    total_seconds: float
    computed_prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def prefill_tokens_per_second(self) -> float:
        """Computed prompt tokens over the time to the first token; 0 where there is none."""
        return _rate(self.computed_prompt_tokens, self.first_token_seconds)

    @property
    def decode_tokens_per_second(self) -> float:
        """Tokens after the first over their time; 0 where there are none."""
        return _rate(self.completion_tokens - 1, self.total_seconds - self.first_token_seconds)


def _rate(num_tokens: int, seconds: float) -> float:
    return num_tokens / seconds if num_tokens > 0 and seconds > 0 else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenLogprob:
    """How likely the model held a chosen token, before penalties and temperature.

    Attributes:
        token_id: The chosen token.
        logprob: The natural logarithm of its probability.
        top_logprobs: The likeliest tokens at this place with theirs, the likeliest first.
    """

    token_id: int
    logprob: float
    top_logprobs: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """A finished answer.

    Attributes:
        text: The answer, without the stop sequence or end token that ended it.
        token_ids: Its tokens; the one that ended it included, where one did.
        finish_reason: Why it ended.
        usage: Tokens counted.
        timings: Seconds taken.
        logprobs: One for each token, where they were asked for.
    """

    text: str
    token_ids: tuple[int, ...]
    finish_reason: FinishReason
    usage: Usage
    timings: Timings
    logprobs: tuple[TokenLogprob, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A piece of an answer that is being made.

    The last one has `finish_reason`, `usage` and `timings`; the texts of all joined are the completion's.

    Attributes:
        text: What became safe to show; empty where a character or a possible stop sequence is not complete.
        token_ids: The tokens behind this piece.
        logprobs: One for each of them, where they were asked for.
        finish_reason: Why the answer ended; `None` before.
        usage: Tokens counted; `None` before.
        timings: Seconds taken; `None` before.
    """

    text: str
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[TokenLogprob, ...] | None = None
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    timings: Timings | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """What a loaded model is.

    Attributes:
        name: The name in its file, or the file's own.
        path: Where it lies.
        architecture: Its family: `llama`, `gemma3`, ...
        quantization: The tensor type that holds most weights: `Q4_1`, `F32`, ...
        num_parameters: Weights.
        vocab_size: Tokens that it knows.
        hidden_size: Values of a token's state.
        num_layers: Layers.
        num_heads: Query heads.
        num_kv_heads: Key-value heads.
        head_dim: Values of a head.
        model_max_context: Tokens that the model was made for.
        max_context: Tokens of a prompt and its answer here.
        file_bytes: Size on disk.
        weight_bytes: Size in memory.
        device: Where it runs.
        isa: The instruction set that the kernels use.
        threads: Threads that they use.
    """

    name: str
    path: Path
    architecture: str
    quantization: str
    num_parameters: int
    vocab_size: int
    hidden_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    model_max_context: int
    max_context: int
    file_bytes: int
    weight_bytes: int
    device: DeviceType
    isa: str
    threads: int

    @property
    def size(self) -> ModelSize:
        """The class of its size."""
        return ModelSize.from_parameters(self.num_parameters)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryStats:
    """Memory in use, counted, in bytes.

    Attributes:
        weight_bytes: The model's weights in memory.
        kv_total_bytes: The budget of the key-value cache.
        kv_used_bytes: What of it requests hold now.
        resident_bytes: The whole process now; 0 where the system does not tell.
        peak_resident_bytes: The whole process at its highest; 0 where the system does not tell.
        running_requests: Requests that hold key-value blocks now.
        waiting_requests: Requests that wait for some.
    """

    weight_bytes: int
    kv_total_bytes: int
    kv_used_bytes: int
    resident_bytes: int
    peak_resident_bytes: int
    running_requests: int
    waiting_requests: int
