"""Random models in the Hugging Face layout, in every shape and generation of keys that a test asks for."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from .settings import FULL, SLIDING, Config, Settings, read_settings

Arrays = dict[str, NDArray[np.float32]]

_CLASSES = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "phi3": "Phi3ForCausalLM",
    "gemma2": "Gemma2ForCausalLM",
    "gemma3_text": "Gemma3ForCausalLM",
}


def new_config(family: str, **changes: Any) -> Config:
    """A small model of a family, in the newer keys; a change to `...` takes the key out."""
    config: Config = {
        "architectures": [_CLASSES[family]],
        "model_type": family,
        "vocab_size": 307,
        "hidden_size": 48,
        "intermediate_size": 80,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 512,
        "rms_norm_eps": 1e-5,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
        "tie_word_embeddings": family.startswith("gemma"),
        "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0},
        "dtype": "float32",
    }
    if family in ("qwen2", "phi3"):  # these classes have no such key
        del config["head_dim"]
    if family == "phi3":
        config["rope_parameters"]["partial_rotary_factor"] = 1.0
    if family == "mistral":
        config["sliding_window"] = None
    if family.startswith("gemma"):
        config |= {"query_pre_attn_scalar": 20, "sliding_window": 8, "hidden_activation": "gelu_pytorch_tanh"}
    else:
        config["hidden_act"] = "silu"
    if family == "gemma3_text":
        local = {"rope_type": "default", "rope_theta": 10_000.0}
        config["rope_parameters"] = {FULL: {"rope_type": "default", "rope_theta": 1e6}, SLIDING: local}
    return {key: value for key, value in (config | changes).items() if value is not ...}


def in_older_keys(config: Config) -> Config:
    """The same configuration as files before transformers 5 spell it."""
    old = {key: value for key, value in config.items() if key not in ("rope_parameters", "dtype")}
    old["torch_dtype"] = config["dtype"]
    rope = dict(config.get("rope_parameters") or {})
    if config["model_type"] == "gemma3_text":
        old["rope_local_base_freq"] = rope[SLIDING]["rope_theta"]
        rope = dict(rope[FULL])
    if "rope_theta" in rope:
        old["rope_theta"] = rope.pop("rope_theta")
    partial = rope.pop("partial_rotary_factor", 1.0)
    if partial != 1.0:
        old["partial_rotary_factor"] = partial
    kind = rope.pop("rope_type", "default")
    old["rope_scaling"] = None if kind == "default" else {"type": kind} | rope
    return old


def random_weights(config: Config, seed: int, spread: float = 0.08) -> Arrays:
    """Weights by their Hugging Face names; `spread` is the deviation of matrices."""
    settings, rng = read_settings(config), np.random.default_rng(seed)
    weights: Arrays = {}

    def matrix(name: str, rows: int, columns: int) -> None:
        weights[f"{name}.weight"] = rng.normal(0, spread, (rows, columns)).astype(np.float32)

    def norm(name: str, width: int) -> None:
        middle = 0.0 if settings.is_gemma else 1.0
        weights[f"{name}.weight"] = (middle + 0.2 * rng.normal(size=width)).astype(np.float32)

    hidden, vocab = settings.hidden, config["vocab_size"]
    matrix("model.embed_tokens", vocab, hidden)
    norm("model.norm", hidden)
    if not settings.tied:
        matrix("lm_head", vocab, hidden)
    for index in range(len(settings.layer_kinds)):
        layer = f"model.layers.{index}."
        for name in _norm_names(settings):
            norm(layer + name, settings.head_dim if name.startswith("self_attn") else hidden)
        for name, (rows, columns) in _matrix_shapes(settings, config["intermediate_size"]).items():
            matrix(layer + name, rows, columns)
            if name[-6:] in ("q_proj", "k_proj", "v_proj") and _has_bias(config):
                weights[f"{layer}{name}.bias"] = rng.normal(0, 0.1, rows).astype(np.float32)
    return weights


def write_folder(
    folder: Path, config: Config, weights: Arrays, *, dtype: str = "F32", shards: int = 1
) -> None:
    """Write config.json and the weights, in one file or in shards with their index."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    if shards == 1:
        _write_file(folder / "model.safetensors", weights, dtype)
        return
    names = list(weights)
    weight_map = {}
    for shard in range(shards):
        file = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        part = names[shard::shards]
        _write_file(folder / file, {name: weights[name] for name in part}, dtype)
        weight_map |= dict.fromkeys(part, file)
    total = sum(array.nbytes for array in weights.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def to_bfloat16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """The bits, rounded to the nearest even."""
    bits = values.view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def _has_bias(config: Config) -> bool:
    return config["model_type"] == "qwen2" or bool(config.get("attention_bias"))


def _norm_names(settings: Settings) -> list[str]:
    names = ["input_layernorm", "post_attention_layernorm"]
    if settings.is_gemma:
        names += ["pre_feedforward_layernorm", "post_feedforward_layernorm"]
    if settings.family in ("qwen3", "gemma3_text"):
        names += ["self_attn.q_norm", "self_attn.k_norm"]
    return names


def _matrix_shapes(settings: Settings, feed_forward: int) -> dict[str, tuple[int, int]]:
    hidden = settings.hidden
    query, key = settings.heads * settings.head_dim, settings.kv_heads * settings.head_dim
    shapes = {"self_attn.o_proj": (hidden, query), "mlp.down_proj": (hidden, feed_forward)}
    if settings.family == "phi3":
        fused = {"self_attn.qkv_proj": (query + 2 * key, hidden)}
        return shapes | fused | {"mlp.gate_up_proj": (2 * feed_forward, hidden)}
    shapes |= {"mlp.gate_proj": (feed_forward, hidden), "mlp.up_proj": (feed_forward, hidden)}
    rows = {"q": query, "k": key, "v": key}
    return shapes | {f"self_attn.{name}_proj": (count, hidden) for name, count in rows.items()}


def _write_file(path: Path, weights: Arrays, dtype: str) -> None:
    if dtype == "BF16":
        _write_bfloat16(path, weights)
        return
    numpy_type = {"F32": np.float32, "F16": np.float16}[dtype]
    arrays = {name: array.astype(numpy_type) for name, array in weights.items()}
    save_file(arrays, path, metadata={"format": "pt"})


def _write_bfloat16(path: Path, weights: Arrays) -> None:
    """NumPy has no such type, so safetensors' writer for NumPy has none."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end, parts = 0, []
    for name, array in weights.items():
        parts.append(to_bfloat16(array).tobytes())
        begin, end = end, end + len(parts[-1])
        header[name] = {"dtype": "BF16", "shape": list(array.shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(parts))
