"""`LlmBackend` over any engine that `LLM` runs on."""

import threading
from collections.abc import Callable

from ruvllm.config import ModelConfig
from ruvllm.errors import InvalidOperationError
from ruvllm.figures import MemoryStats, ModelInfo
from ruvllm.llm import LLM
from ruvllm.params import GenerateParams
from ruvllm.runtime.unpicklable import Unpicklable
from ruvllm.text.tokenizer import Tokenizer

__all__ = ["EngineBackend"]


class EngineBackend(Unpicklable):
    """`LlmBackend` over `LLM`, on the engine of that name.

    backend = EngineBackend("mistralrs")
    backend.load_model("smollm2-135m")
    backend.generate("Once upon a time", GenerateParams(max_tokens=16))
    """

    def __init__(self, backend: str) -> None:
        self._backend = backend
        self._lock = threading.Lock()
        self._llm: LLM | None = None

    _instead = "make one there, and load the model by its name"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({'' if self._llm is None else repr(self._llm)})"

    def load_model(self, model_id_or_path: str, config: ModelConfig | None = None) -> None:
        """Load a model in place of the one that is loaded; where that fails, the old one stays."""
        loaded = LLM(model_id_or_path, config=config, backend=self._backend)
        with self._lock:
            previous, self._llm = self._llm, loaded
        if previous is not None:
            previous.close()

    def generate(self, prompt: str, params: GenerateParams | None = None) -> str:
        """Give the text that follows the prompt."""
        if params is not None:
            params.check_one_answer("a text")
        return self._loaded().generate(prompt, params).text

    def generate_stream(
        self, prompt: str, params: GenerateParams | None, callback: Callable[[str], bool]
    ) -> None:
        """Hand the text to `callback` piece by piece until it returns False."""
        with self._loaded().stream(prompt, params) as stream:
            for chunk in stream:
                if chunk.text and not callback(chunk.text):
                    return

    def tokenizer(self) -> Tokenizer | None:
        """The loaded model's tokenizer, if there is one."""
        llm = self._llm
        return None if llm is None else llm.tokenizer

    def model_info(self) -> ModelInfo | None:
        """What the loaded model is; `None` where none is loaded."""
        llm = self._llm
        return None if llm is None else llm.model_info

    def memory_stats(self) -> MemoryStats:
        """Memory in use now."""
        return self._loaded().memory_stats()

    def is_loaded(self) -> bool:
        """Whether a model is loaded."""
        return self._llm is not None

    def close(self) -> None:
        """Unload the model."""
        with self._lock:
            llm, self._llm = self._llm, None
        if llm is not None:
            llm.close()

    def _loaded(self) -> LLM:
        llm = self._llm
        if llm is None:
            raise InvalidOperationError("no model is loaded; call load_model first")
        return llm
