"""The header of a model in Hugging Face's layout: `config.json`, and the heads of its safetensors files."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

import ruvllm._native as _native
from ruvllm.autodetect.model_header import (
    MOST,
    ModelHeader,
    StoredTensor,
    check_count,
    read_gguf_header,
    stretched,
)
from ruvllm.errors import IoError, ModelError
from ruvllm.quantizing import read_object

__all__ = ["read_header"]

INDEX = "model.safetensors.index.json"
# Indexes of models with a hundred thousand tensors are a third of this.
MAX_INDEX_BYTES = 32 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class _Family:
    """What a family's class takes where `config.json` says nothing; `None` follows from other numbers."""

    class_name: str
    num_kv_heads: int | None = None
    head_dim: int | None = None
    max_context: int
    # Phi-3's first files say `yarn` where they mean a scaling that reaches no further.
    has_yarn: bool = True


FAMILIES = {
    "llama": _Family(class_name="LlamaForCausalLM", max_context=2048),
    "mistral": _Family(class_name="MistralForCausalLM", num_kv_heads=8, max_context=131_072),
    "qwen2": _Family(class_name="Qwen2ForCausalLM", num_kv_heads=32, max_context=32_768),
    "qwen3": _Family(class_name="Qwen3ForCausalLM", num_kv_heads=32, head_dim=128, max_context=32_768),
    "phi3": _Family(class_name="Phi3ForCausalLM", max_context=4096, has_yarn=False),
    "gemma2": _Family(class_name="Gemma2ForCausalLM", num_kv_heads=4, head_dim=256, max_context=8192),
    "gemma3_text": _Family(class_name="Gemma3ForCausalLM", num_kv_heads=4, head_dim=256, max_context=131_072),
}


def read_header(path: Path) -> ModelHeader:
    """The header of a file or folder that `LLM` would load; a typed error says what is wrong with it."""
    # Opening checks all that is believed below, whatever kind of files these are.
    file = _native.GgufFile.open(path)
    return _folder_header(path) if file is None else read_gguf_header(path, file)


def _folder_header(path: Path) -> ModelHeader:
    folder = path if path.is_dir() else path.parent
    place = folder / "config.json"
    config = read_object(place)
    family = _family_of(config)

    def count(key: str, most: int) -> int:
        return check_count(place, key, config.get(key), most)

    num_heads = count("num_attention_heads", MOST["heads"])
    hidden = count("hidden_size", MOST["width"])
    # Where the key is there and null, every class takes as many as query heads.
    implied = num_heads if "num_key_value_heads" in config else family.num_kv_heads or num_heads
    has_kv_heads = config.get("num_key_value_heads") is not None
    has_head_dim = config.get("head_dim") is not None
    has_context = config.get("max_position_embeddings") is not None
    context = count("max_position_embeddings", MOST["context"]) if has_context else family.max_context
    reached = [_reach(section, config, context, family) for section in _rope_sections(config)]
    return ModelHeader(
        path=path,
        architecture=family.class_name,
        num_layers=count("num_hidden_layers", MOST["layers"]),
        num_kv_heads=count("num_key_value_heads", MOST["heads"]) if has_kv_heads else implied,
        head_dim=count("head_dim", MOST["head_dim"])
        if has_head_dim
        else family.head_dim or max(1, hidden // num_heads),
        max_context=min(max([context, *reached]), MOST["context"]),
        tensors=tuple(_stored_tensors(path)),
    )


def _family_of(config: Mapping[str, Any]) -> _Family:
    named = config.get("model_type")
    if named in FAMILIES:
        return FAMILIES[named]
    classes = config.get("architectures")
    if named is None and isinstance(classes, list):
        for family in FAMILIES.values():
            if family.class_name in classes:
                return family
    raise ModelError(
        f"config.json: model_type is {named!r:.80}: unknown kind of model; known are {', '.join(FAMILIES)}"
    )


def _rope_sections(config: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The RoPE of all layers, or of each kind of them."""
    for key in ("rope_parameters", "rope_scaling"):
        section = config.get(key)
        if isinstance(section, dict):
            yield section
            yield from (inner for inner in section.values() if isinstance(inner, dict))


def _reach(section: Mapping[str, Any], config: Mapping[str, Any], context: int, family: _Family) -> int:
    """How many tokens a scaling is for, where `max_position_embeddings` is the length before it."""
    kind = section.get("rope_type") or section.get("type")
    factor = section.get("factor")
    if kind == "dynamic" and isinstance(factor, int | float):
        return stretched(context, factor)
    if kind == "yarn" and family.has_yarn:
        key = "original_max_position_embeddings"
        original = section.get(key) or config.get(key) or context
        original = check_count(Path("config.json"), key, original, MOST["context"])
        return stretched(original, factor if isinstance(factor, int | float) else context / original)
    return 0


def _stored_tensors(path: Path) -> Iterator[StoredTensor]:
    for file in _weight_files(path):
        try:
            with safe_open(file, framework="np") as opened:
                for name in opened.keys():  # noqa: SIM118 - it is no mapping
                    part = opened.get_slice(name)
                    yield StoredTensor(name, part.get_dtype(), tuple(part.get_shape()))
        except OSError as error:
            raise IoError(f"{file}: {error.strerror or error}") from error
        except SafetensorError as error:
            raise ModelError(f"{file} is no whole safetensors file: {error}") from error


def _weight_files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    index = path / INDEX
    if not index.exists():
        return [path / "model.safetensors"]
    named = read_object(index, MAX_INDEX_BYTES).get("weight_map")
    return [path / name for name in sorted(set(named.values() if isinstance(named, dict) else ()))]
