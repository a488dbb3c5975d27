"""Why a configuration is as it is, in words: a text for each of its values."""

from ruvllm.autodetect.recommendation import ModelNeeds, Recommendation
from ruvllm.autodetect.system_capabilities import SystemCapabilities
from ruvllm.observability.sizes import size
from ruvllm.runtime.configuration import ConfiguredSettings
from ruvllm.runtime.memory_budget import ENOUGH_BYTES, FALLBACK_BYTES, FULL_SEQUENCES, SHARE_OF_FREE_MEMORY

__all__ = ["reasons_of"]

SHARE = f"{SHARE_OF_FREE_MEMORY:.0%}"


def reasons_of(
    model: ModelNeeds, chosen: Recommendation, settings: ConfiguredSettings, system: SystemCapabilities
) -> dict[str, str]:
    """A text for each value of an `InferenceConfig`, by its name."""
    return {
        "quantization": _of_quantization(model, chosen, system.free_bytes),
        "kv_format": _of_kv_format(model, chosen, settings),
        "max_context": _of_context(model, chosen, settings),
        "kv_cache_bytes": _of_budget(model, chosen, settings, system.free_bytes),
        "threads": "as asked" if settings.threads else system.threads_reason,
    }


def _of_quantization(model: ModelNeeds, chosen: Recommendation, free_bytes: int | None) -> str:
    said = f"the file is run as it is; its weights take {size(model.weight_bytes)} of memory"
    if free_bytes is None:
        return f"{said}; the system does not tell what is free, so nobody knows whether they fit"
    said += f", and {size(free_bytes)} are free"
    other = chosen.quantization
    if other is None:
        if chosen.plan is not None:
            return said
        if model.weight_bytes < free_bytes:
            return f"{said}; a key-value cache does not fit beside them"
        return f"{said}: too little, for any quantization that can be made of it, too; take a smaller model"
    weights = f"{other}, whose weights would take {size(model.mixture_bytes[other])},"
    if model.mixture_bytes[other] > model.weight_bytes:
        return (
            f"{said}. {weights} fits well, too: it is nearer to the original, and slower; take or make it of "
            "the original, not of this file"
        )
    room = "which is too little" if chosen.plan is None else "which leaves little for a conversation"
    return (
        f"{said}, {room}. {weights} fits: take such a file, or have `ruvllm quantize` make it of the original"
    )


def _of_kv_format(model: ModelNeeds, chosen: Recommendation, settings: ConfiguredSettings) -> str:
    if settings.kv_format != "auto":
        return "as asked"
    said = "the exactness of the weights" if model.kv_format == "f32" else "as exact as f16"
    if chosen.kv_format != model.kv_format:
        held, more = (plan.max_context if plan else 0 for plan in (chosen.unasked, chosen.plan))
        said = (
            f"it holds {more} tokens, {model.kv_format} {held}. LLM(model) keeps {model.kv_format} all the "
            "same: a format changes tokens, what is free changes from run to run, and the same request must "
            f"give the same tokens; ask with kv_format={chosen.kv_format!r}"
        )
    if chosen.roomier_format:
        said += (
            f". In {chosen.roomier_format} the whole context would fit, at some cost of quality: "
            "it is yours to choose"
        )
    return said


def _of_context(model: ModelNeeds, chosen: Recommendation, settings: ConfiguredSettings) -> str:
    if chosen.plan is None:
        return str(chosen.problem)
    if settings.max_context is not None:
        return "as asked"
    if chosen.plan.max_context == model.max_context:
        return "all that the model was made for"
    budget = "kv_cache_bytes" if settings.kv_cache_bytes else "the memory for keys and values"
    return f"what fits into {budget}; the model was made for {model.max_context} tokens"


def _of_budget(
    model: ModelNeeds, chosen: Recommendation, settings: ConfiguredSettings, free_bytes: int | None
) -> str:
    if chosen.plan is None:
        return "nothing is left for it"
    if settings.kv_cache_bytes is not None:
        return "as asked"
    if free_bytes is None:
        share = f"{SHARE} of {size(FALLBACK_BYTES)}, as the system does not tell what is free"
    else:
        share = f"{SHARE} of what is free beside the weights"
        if chosen.plan.kv_cache_bytes > (free_bytes - model.weight_bytes) * SHARE_OF_FREE_MEMORY:
            return f"what the context needs that was asked for, more than the usual {share}"
    return (
        f"for keys, values and adapters: {share}, but no more than {FULL_SEQUENCES} full contexts or "
        f"{size(ENOUGH_BYTES)}, whichever is more"
    )
