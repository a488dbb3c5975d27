"""`InferenceConfig`: how a model is best run on this machine, and why."""

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import ruvllm._native as _native
import ruvllm.hub as hub
from ruvllm._settings import takes_settings
from ruvllm.autodetect.reasons import reasons_of
from ruvllm.autodetect.recommendation import ModelNeeds, Recommendation, recommend
from ruvllm.autodetect.system_capabilities import SystemCapabilities
from ruvllm.autodetect.weight_sizes import MIXTURES, StoredTensor, mixture_bytes, packed_bytes
from ruvllm.engine_settings import EngineKeywords, EngineSettings, KvFormat, KvTailFormat
from ruvllm.errors import ConfigError, OutOfMemoryError
from ruvllm.runtime.configuration import ConfiguredSettings, settings_from

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["InferenceConfig", "UnaskedCache"]

FORMATS: tuple[KvFormat, ...] = ("auto", "f32", "int16", "int8", "k8v4", "q4", "q3")


@dataclass(frozen=True, slots=True, kw_only=True)
class UnaskedCache:
    """The key-value cache that `LLM` makes where its format is not set; the same on every day.

    Attributes:
        kv_format: The format of its numbers.
        max_context: Tokens of a prompt and its answer.
        kv_cache_bytes: Its budget.
    """

    kv_format: KvFormat
    max_context: int
    kv_cache_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceConfig:
    """How a model is best run on a machine, with a reason for each value.

        config = InferenceConfig.auto("model.gguf")
        llm = LLM("model.gguf", **config.keywords())

    Attributes:
        quantization: The tensor type that holds most weights of the file, which is run as it is.
        better_quantization: Another one of this model that would be better here: one that fits, where the
            file does not, or one of more bits, where there is plenty of room; `None` where there is none.
        weight_bytes: What the weights take in memory.
        kv_format: How the key-value cache should store numbers.
        kv_tail: The last tokens that it should keep better, as asked; `None` as goes with the format.
        kv_tail_format: How it should keep these, likewise.
        max_context: Tokens of a prompt and its answer; 0 where the model does not fit.
        kv_cache_bytes: Budget of keys, values and adapters; 0 likewise.
        threads: Threads of the kernels.
        fits: Whether all that fits into the memory; `None` where the system does not tell what is free.
        unasked: What `LLM(model)` does by itself. It is the same, but for a format that is only recommended;
            `None` where the model does not fit.
        reasons: Why, by the names `quantization`, `kv_format`, `max_context`, `kv_cache_bytes` and `threads`.
    """

    quantization: str
    better_quantization: str | None
    weight_bytes: int
    kv_format: KvFormat
    kv_tail: int | None
    kv_tail_format: KvTailFormat | None
    max_context: int
    kv_cache_bytes: int
    threads: int
    fits: bool | None
    unasked: UnaskedCache | None
    reasons: dict[str, str]

    @classmethod
    @takes_settings(EngineSettings)
    def auto(
        cls,
        model: str | os.PathLike[str],
        capabilities: SystemCapabilities | None = None,
        **settings: "Unpack[EngineKeywords]",
    ) -> "InferenceConfig":
        """Read the head of a model's files and plan; no weight is read, and nothing is fetched.

        Raises `NotFoundError` where the model is not on this machine, and what loading raises for files that
        are no model.

        Args:
            model: As of `LLM`: a file, a folder, or the name of a model that was fetched.
            capabilities: The machine to plan for; this one, as it is now, where it is not given.
            **settings: Settings of `LLM` that are to stand; the rest is chosen:
                {settings}
        """
        given = settings_from(None, EngineSettings.given(settings))
        header = _native.ModelHeader.read(hub.find(model), given.activations)
        tensors = [StoredTensor(*one) for one in header.tensors()]
        system = capabilities or SystemCapabilities.detect(isa=given.isa, threads=given.threads)
        shapes: dict[str, tuple[str, int, list[int | None]]] = {}
        for each in FORMATS:
            # Of one that the model cannot have there is nothing to recommend.
            with suppress(ConfigError):
                shapes[each] = header.kv_shape((each, given.kv_tail, given.kv_tail_format))
        needs = ModelNeeds(
            weight_bytes=packed_bytes(tensors),
            mixture_bytes={name: mixture_bytes(name, tensors) for name in MIXTURES},
            kv_shapes={**shapes, given.kv_format: header.kv_shape(given.kv_formats)},
            max_context=header.max_context,
        )
        chosen = recommend(needs, given, system.free_bytes)
        return _configuration(header.quantization, needs, chosen, given, system)

    def keywords(self) -> EngineKeywords:
        """What `LLM` takes to run so; `OutOfMemoryError` where the model does not fit."""
        if not self.max_context:
            raise OutOfMemoryError(f"this model does not fit here: {self.reasons['quantization']}")
        return {
            "threads": self.threads,
            "kv_format": self.kv_format,
            "kv_tail": self.kv_tail,
            "kv_tail_format": self.kv_tail_format,
            "max_context": self.max_context,
            "kv_cache_bytes": self.kv_cache_bytes,
        }


def _configuration(
    quantization: str,
    needs: ModelNeeds,
    chosen: Recommendation,
    settings: ConfiguredSettings,
    system: SystemCapabilities,
) -> InferenceConfig:
    asked = needs.kv_format if settings.kv_format == "auto" else settings.kv_format
    unasked = chosen.unasked
    return InferenceConfig(
        quantization=quantization,
        better_quantization=chosen.quantization,
        weight_bytes=needs.weight_bytes,
        kv_format=chosen.kv_format,
        kv_tail=settings.kv_tail,
        kv_tail_format=settings.kv_tail_format,
        max_context=chosen.plan.max_context if chosen.plan else 0,
        kv_cache_bytes=chosen.plan.kv_cache_bytes if chosen.plan else 0,
        threads=settings.threads or system.threads,
        fits=chosen.fits,
        unasked=None
        if unasked is None
        else UnaskedCache(
            kv_format=asked, max_context=unasked.max_context, kv_cache_bytes=unasked.kv_cache_bytes
        ),
        reasons=reasons_of(needs, chosen, settings, system),
    )
