"""The model that an adapter is trained on: its packed weights and its words."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import ruvllm._native as _native
import ruvllm.hub as hub
from ruvllm._settings import of_this_machine
from ruvllm.engine_settings import EngineSettings
from ruvllm.runtime.open_model import OpenModel
from ruvllm.runtime.text_methods import TextMethods
from ruvllm.text.loading import ModelText, load_text

__all__ = ["TrainableModel"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainableModel:
    """A model in memory, for training alone or beside requests that it goes on serving.

    Attributes:
        native: Its weights.
        text: Its tokenizer and template.
        path: Where it was read.
    """

    native: "_native.Model"
    text: ModelText
    path: Path

    @classmethod
    def of(
        cls, model: "TrainableModel | TextMethods | OpenModel | str | os.PathLike[str]"
    ) -> "TrainableModel":
        """What is given: one, an `LLM`, whose weights are shared, or what `LLM` takes as a name."""
        if isinstance(model, TrainableModel):
            return model
        opened = model._open if isinstance(model, TextMethods) else model
        if isinstance(opened, OpenModel):
            return cls(native=opened.native, text=opened.text, path=opened.path)
        return cls.load(opened)

    @classmethod
    def load(
        cls,
        model: str | os.PathLike[str],
        settings: EngineSettings | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> "TrainableModel":
        """Load one; of the settings those count that are about threads, instruction sets and activations."""
        chosen = of_this_machine(settings or EngineSettings())
        path = hub.resolve(model)
        native = _native.Model.load(
            str(path),
            threads=chosen.threads,
            isa=chosen.isa,
            activations=chosen.activations,
            progress=progress,
        )
        return cls(native=native, text=load_text(native, path), path=path)

    @property
    def end_tokens(self) -> frozenset[int]:
        """Every token that ends an answer."""
        tokenizer = self.text.tokenizer
        return frozenset([*self.native.end_tokens, *(tokenizer.end_tokens if tokenizer else ())])
