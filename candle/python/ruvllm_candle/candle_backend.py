"""`CandleBackend`: the documented class, an `LlmBackend` on candle."""

import asyncio
import os
from dataclasses import replace
from pathlib import Path

from ruvllm.backends import EngineBackend
from ruvllm.config import ModelConfig
from ruvllm.errors import ConfigError
from ruvllm.runtime.configuration import resolve_model
from ruvllm.types import DeviceType, Precision
from ruvllm_candle.backend import CandleEngineBackend

__all__ = ["CandleBackend"]


class CandleBackend(EngineBackend):
    """`LlmBackend` on candle.

    backend = CandleBackend.new()
    backend.load_model("smollm2-135m")
    backend.generate("Once upon a time", GenerateParams(max_tokens=16))
    """

    def __init__(self, device: DeviceType | None = None) -> None:
        super().__init__("candle")
        there = CandleEngineBackend().devices()
        if device is not None and device not in there:
            raise ConfigError(
                f"device is {device!r}; candle has {', '.join(map(repr, there))} here: it computes where it "
                "was built for (docs/backends.md)"
            )
        self._device = device or there[0]

    @classmethod
    def new(cls) -> "CandleBackend":
        """One on the best device that there is."""
        return cls()

    @classmethod
    def with_device(cls, device: DeviceType) -> "CandleBackend":
        """One on this device; `ConfigError` where candle does not have it."""
        return cls(device)

    def device(self) -> DeviceType:
        """Where it computes."""
        return self._device

    def load_model(self, model_id_or_path: str, config: ModelConfig | None = None) -> None:
        """Load a model in place of the one that is loaded; where that fails, the old one stays."""
        super().load_model(model_id_or_path, replace(config or ModelConfig(), device=self._device))

    @staticmethod
    async def download_model(
        model_id: str,
        quantization: Precision | None = None,
        cache_dir: "str | os.PathLike[str] | None" = None,
    ) -> Path:
        """Fetch a model, as `ruvllm pull` does; gives its path, which `load_model` takes."""
        config = ModelConfig(quantization=quantization)
        cache = None if cache_dir is None else Path(cache_dir)
        return await asyncio.to_thread(resolve_model, model_id, config, quiet=True, cache=cache)
