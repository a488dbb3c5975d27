"""The backend on this project's own engine: the default one."""

from ruvllm.backends.engine import EngineBackend
from ruvllm.backends.registry import NATIVE

__all__ = ["NativeBackend"]


class NativeBackend(EngineBackend):
    """`LlmBackend` on the native engine.

    backend = NativeBackend()
    backend.load_model("smollm2-135m")
    backend.generate("Once upon a time", GenerateParams(max_tokens=16))
    """

    def __init__(self) -> None:
        super().__init__(NATIVE)
