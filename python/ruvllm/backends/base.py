"""The face of every backend: text in, text out. No hot loop crosses it.

`tests/backends` holds what each implementation must do.
"""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from ruvllm.config import ModelConfig
from ruvllm.figures import ModelInfo
from ruvllm.params import GenerateParams
from ruvllm.text.tokenizer import Tokenizer

__all__ = ["LlmBackend"]


@runtime_checkable
class LlmBackend(Protocol):
    """A backend holds one model or none, and may be used from many threads."""

    def load_model(self, model_id_or_path: str, config: ModelConfig | None = None) -> None:
        """Load a model in place of the one that is loaded; where that fails, the old one stays."""

    def generate(self, prompt: str, params: GenerateParams | None = None) -> str:
        """Give the text that follows the prompt.

        Raises `InvalidOperationError` where no model is loaded, and `ContextLengthError` for a prompt that
        does not fit.
        """

    def generate_stream(
        self, prompt: str, params: GenerateParams | None, callback: Callable[[str], bool]
    ) -> None:
        """Hand the text to `callback` piece by piece until it returns False; never with half a character.

        The pieces joined are what `generate` gives. An exception in the callback ends the request and is
        passed on.
        """

    def tokenizer(self) -> Tokenizer | None:
        """The loaded model's tokenizer, if there is one."""

    def model_info(self) -> ModelInfo | None:
        """What the loaded model is; `None` where none is loaded."""

    def is_loaded(self) -> bool:
        """Whether a model is loaded."""
