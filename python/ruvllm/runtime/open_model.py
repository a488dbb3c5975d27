"""A model that is open: what stands on it asks here, whatever engine it runs on."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ruvllm.backends.supports import Supports
from ruvllm.errors import InvalidOperationError
from ruvllm.runtime.learned import LearnedHeads
from ruvllm.runtime.loop import EngineLoop
from ruvllm.runtime.makers_sampling import MakersSampling
from ruvllm.text.loading import ModelText

if TYPE_CHECKING:
    import ruvllm._native as _native
    from ruvllm.packs.manager import KernelManager

__all__ = ["ModelFacts", "NativeParts", "OpenModel"]


class ModelFacts(Protocol):
    """What is told of a model; the native engine's model says it by itself."""

    @property
    def architecture(self) -> str:
        """Its family."""

    @property
    def quantization(self) -> str:
        """The tensor type that holds most weights."""

    @property
    def sizes(self) -> tuple[int, int]:
        """Weights in all, and bytes of the files."""

    @property
    def weight_bytes(self) -> tuple[int, int]:
        """Bytes in memory, and how many of them are mapped; 0 of an engine that does not say."""

    @property
    def vocab_size(self) -> int:
        """Tokens that it knows."""

    @property
    def hidden_size(self) -> int:
        """Values of a token's state."""

    @property
    def num_layers(self) -> int:
        """Layers."""

    @property
    def heads(self) -> tuple[int, int, int]:
        """Heads of queries, heads of keys and values, and how wide each is."""

    @property
    def max_context(self) -> int:
        """Tokens that it was made for."""

    @property
    def isa(self) -> str:
        """The instruction set that it runs with, or what runs it where that does not say."""

    @property
    def threads(self) -> int:
        """Threads that it runs with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeParts:
    """What only a model on the native engine has."""

    model: "_native.Model"
    memory: "_native.EngineMemory"
    adapter_bytes: int
    kernel_packs: "KernelManager | None"
    draft: "_native.Model | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenModel:
    """A model in memory with the loop that runs it.

    `own` is there on the native engine alone: `native` and `memory` of another are an error that says so.
    """

    path: Path
    backend: str
    supports: Supports
    facts: ModelFacts
    text: ModelText
    vocabulary: "_native.Vocabulary | None"
    loop: EngineLoop
    max_context: int
    end_tokens: tuple[int, ...]
    own: NativeParts | None = None
    grammars: "_native.Grammars | None" = None
    speculates: bool = False
    learned: LearnedHeads = field(default_factory=LearnedHeads)
    makers: MakersSampling = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "makers", MakersSampling(self.path, self.text.name))

    @property
    def native(self) -> "_native.Model":
        """The weights in the native engine's memory."""
        return self._own().model

    @property
    def memory(self) -> "_native.EngineMemory":
        """The memory of the native engine."""
        return self._own().memory

    def _own(self) -> NativeParts:
        if self.own is None:
            raise InvalidOperationError(
                f"this needs the native backend, and the model {self.text.name} runs on {self.backend!r}; "
                "docs/backends.md says what each can"
            )
        return self.own
