"""Models of the Hugging Face layout as GGUF, the way that llama.cpp's converter writes them."""

from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

from .folder import Weights
from .random_models import Arrays
from .rope import inverse_frequencies
from .settings import FULL, SLIDING, Config, Settings, read_settings

ARCHITECTURES = {
    "llama": "llama",
    "mistral": "llama",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "phi3": "phi3",
    "gemma2": "gemma2",
    "gemma3_text": "gemma3",
}
_TOP = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
_IN_LAYER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.qkv_proj": "attn_qkv",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.gate_up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "post_attention_layernorm": "ffn_norm",
}
_IN_GEMMA_LAYER = _IN_LAYER | {
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}


def write_gguf(
    path: Path, config: Config, weights: Arrays, *, kind: str = "F32", tensors_per_file: int = 0
) -> Weights:
    """Write the file, or the shards of it; gives the weights as the file has them, by their first names."""
    settings = read_settings(config)
    writer = gguf.GGUFWriter(path, ARCHITECTURES[settings.family], split_max_tensors=tensors_per_file)
    _add_keys(writer, config, settings)
    _add_vocabulary(writer, config["vocab_size"])
    _add_rope(writer, settings)
    stored: Weights = {}
    for name, array in weights.items():
        wanted = gguf.GGMLQuantizationType[kind]
        if array.ndim == 1:
            wanted = gguf.GGMLQuantizationType.F32
        heads = _interleaved_heads(settings, name)
        values = array if heads is None else _interleave(array, heads)
        if settings.is_gemma and name.endswith("norm.weight"):
            values = values + np.float32(1)
        data = gguf.quantize(values, wanted)
        writer.add_tensor(_gguf_name(name, is_gemma=settings.is_gemma), data, raw_dtype=wanted)
        kept = gguf.dequantize(data, wanted).reshape(array.shape).astype(np.float64)
        if settings.is_gemma and name.endswith("norm.weight"):
            kept = kept - 1
        stored[name] = kept if heads is None else _interleave(kept, heads, back=True)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return stored


def _add_keys(writer: gguf.GGUFWriter, config: Config, settings: Settings) -> None:
    writer.add_block_count(len(settings.layer_kinds))
    writer.add_context_length(settings.max_positions)
    writer.add_embedding_length(settings.hidden)
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(settings.heads)
    writer.add_head_count_kv(settings.kv_heads)
    writer.add_layer_norm_rms_eps(settings.epsilon)
    writer.add_vocab_size(config["vocab_size"])
    if settings.family not in ("qwen2", "phi3"):
        writer.add_key_length(settings.head_dim)
        writer.add_value_length(settings.head_dim)
    if settings.is_gemma or settings.family == "phi3":
        writer.add_sliding_window(settings.window or 0)
    if settings.family == "gemma2":
        writer.add_attn_logit_softcapping(settings.attention_cap)
        writer.add_final_logit_softcapping(settings.final_cap)


def _add_vocabulary(writer: gguf.GGUFWriter, size: int) -> None:
    """Tokens that no test reads: three special ones, and words."""
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(["<pad>", "<s>", "</s>", *(f"word{index}" for index in range(3, size))])
    control, normal = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
    writer.add_token_types([control] * 3 + [normal] * (size - 3))
    writer.add_token_merges(["w o"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)


def _add_rope(writer: gguf.GGUFWriter, settings: Settings) -> None:
    rope = settings.ropes[FULL]
    writer.add_rope_freq_base(rope["rope_theta"])
    share = rope.get("partial_rotary_factor") or 1.0
    if settings.family in ("llama", "mistral", "phi3"):
        writer.add_rope_dimension_count(int(settings.head_dim * share))
    kind, trained = rope["rope_type"], rope["original_max_position_embeddings"]
    if settings.family == "gemma3_text" and settings.ropes[SLIDING]["rope_theta"] != 10_000.0:
        writer.add_rope_freq_base_swa(settings.ropes[SLIDING]["rope_theta"])
    if kind in ("linear", "yarn"):
        writer.add_rope_scaling_type(gguf.RopeScalingType[kind.upper()])
        writer.add_rope_scaling_factor(rope["factor"])
    if kind == "yarn":
        writer.add_rope_scaling_orig_ctx_len(trained)
    if kind == "llama3":  # the converter writes a divisor for each pair of dimensions
        plain = rope["rope_theta"] ** -(np.arange(0, settings.head_dim, 2) / settings.head_dim)
        scaled, _ = inverse_frequencies(rope, settings.head_dim, settings.max_positions, 1)
        writer.add_tensor("rope_freqs.weight", (plain / scaled).astype(np.float32))
    if kind == "longrope":
        _, magnitude = inverse_frequencies(rope, settings.head_dim, settings.max_positions, 1)
        writer.add_rope_scaling_orig_ctx_len(trained)
        writer.add_rope_scaling_attn_factors(magnitude)
        for length in ("long", "short"):
            divisors = np.array(rope[f"{length}_factor"], np.float32)
            writer.add_tensor(f"rope_factors_{length}.weight", divisors)


def _gguf_name(name: str, *, is_gemma: bool) -> str:
    stem, _, kind = name.rpartition(".")
    if stem in _TOP:
        return f"{_TOP[stem]}.{kind}"
    index, _, part = stem.removeprefix("model.layers.").partition(".")
    names = _IN_GEMMA_LAYER if is_gemma else _IN_LAYER
    return f"blk.{index}.{names[part]}.{kind}"


def _interleaved_heads(settings: Settings, name: str) -> int | None:
    """How many heads have their rows reordered: those of Q and K, for the architecture `llama` alone."""
    if ARCHITECTURES[settings.family] != "llama":
        return None
    if ".q_proj." in name:
        return settings.heads
    return settings.kv_heads if ".k_proj." in name else None


def _interleave(rows: NDArray[np.floating], heads: int, *, back: bool = False) -> NDArray[np.floating]:
    """From halves of a head to pairs of neighbours, or back."""
    half = len(rows) // heads // 2
    parts = (heads, half, 2) if back else (heads, 2, half)
    return np.ascontiguousarray(rows.reshape(*parts, -1).swapaxes(1, 2).reshape(rows.shape))
