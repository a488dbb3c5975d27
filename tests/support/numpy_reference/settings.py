"""What a config.json means, in both generations of keys, with the defaults of the Hugging Face classes."""

from dataclasses import dataclass
from typing import Any

Config = dict[str, Any]

FULL, SLIDING = "full_attention", "sliding_attention"

_LLAMA: Config = {
    "num_key_value_heads": None,
    "head_dim": None,
    "rms_norm_eps": 1e-6,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": False,
    "rope_theta": 10_000.0,
    "attention_bias": False,
}
_QWEN: Config = _LLAMA | {
    "num_key_value_heads": 32,
    "max_position_embeddings": 32_768,
    "sliding_window": 4096,
    "use_sliding_window": False,
    "max_window_layers": 28,
}
_GEMMA: Config = _LLAMA | {
    "num_key_value_heads": 4,
    "head_dim": 256,
    "tie_word_embeddings": True,
    "max_position_embeddings": 8192,
    "sliding_window": 4096,
    "query_pre_attn_scalar": 256,
    "attn_logit_softcapping": None,
    "final_logit_softcapping": None,
}
CLASS_DEFAULTS: dict[str, Config] = {
    "llama": _LLAMA,
    "mistral": _LLAMA
    | {"num_key_value_heads": 8, "max_position_embeddings": 131_072, "sliding_window": 4096},
    "qwen2": _QWEN,
    "qwen3": _QWEN | {"head_dim": 128},
    "phi3": _LLAMA
    | {
        "rms_norm_eps": 1e-5,
        "max_position_embeddings": 4096,
        "original_max_position_embeddings": 4096,
        "sliding_window": None,
        "partial_rotary_factor": 1.0,
    },
    "gemma2": _GEMMA | {"attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0},
    "gemma3_text": _GEMMA
    | {"max_position_embeddings": 131_072, "rope_theta": 1e6, "rope_local_base_freq": 1e4},
}


@dataclass(frozen=True)
class Settings:
    """A model's shape and switches.

    Attributes:
        layer_kinds: The kind of attention of each layer.
        window: How many positions a query of a sliding layer sees, itself included.
        ropes: The RoPE parameters of each kind of layer, complete.
        attention_cap: The soft cap on scores; transformers' Gemma 3 has the setting and never uses it.
    """

    family: str
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    epsilon: float
    tied: bool
    max_positions: int
    attention_scale: float
    layer_kinds: tuple[str, ...]
    window: int | None
    ropes: dict[str, Config]
    attention_cap: float | None
    final_cap: float | None

    @property
    def is_gemma(self) -> bool:
        """Whether norms stand around both halves and embeddings are scaled."""
        return self.family.startswith("gemma")


def read_settings(config: Config) -> Settings:
    """Fill in what the class of the family would."""
    family = config["model_type"]
    full = CLASS_DEFAULTS[family] | config
    heads, hidden = full["num_attention_heads"], full["hidden_size"]
    head_dim = full["head_dim"] or hidden // heads
    is_gemma = family.startswith("gemma")
    return Settings(
        family=family,
        hidden=hidden,
        heads=heads,
        kv_heads=full["num_key_value_heads"] or heads,
        head_dim=head_dim,
        epsilon=full["rms_norm_eps"],
        tied=full["tie_word_embeddings"],
        max_positions=full["max_position_embeddings"],
        attention_scale=(full["query_pre_attn_scalar"] if is_gemma else head_dim) ** -0.5,
        layer_kinds=tuple(_layer_kinds(full)),
        window=_window(full),
        ropes=_ropes(full),
        attention_cap=full["attn_logit_softcapping"] if family == "gemma2" else None,
        final_cap=full["final_logit_softcapping"] if is_gemma else None,
    )


def _window(full: Config) -> int | None:
    if full["model_type"].startswith("qwen") and not full["use_sliding_window"]:
        return None
    return full.get("sliding_window") if full["model_type"] != "llama" else None


def _layer_kinds(full: Config) -> list[str]:
    family, count = full["model_type"], full["num_hidden_layers"]
    if family in ("llama", "mistral", "phi3"):
        return [FULL if _window(full) is None else SLIDING] * count
    if full.get("layer_types") is not None:
        return list(full["layer_types"])
    if family.startswith("qwen"):
        first = full["max_window_layers"] if _window(full) is not None else count
        return [SLIDING if index >= first else FULL for index in range(count)]
    period = 2 if family == "gemma2" else full.get("sliding_window_pattern", 6)
    return [SLIDING if (index + 1) % period else FULL for index in range(count)]


def _ropes(full: Config) -> dict[str, Config]:
    if full["model_type"] == "gemma3_text":
        nested = full.get("rope_parameters") or {}
        bases = {FULL: full["rope_theta"], SLIDING: full["rope_local_base_freq"]}
        ropes = {kind: {"rope_theta": base} | (nested.get(kind) or {}) for kind, base in bases.items()}
        ropes[FULL] |= full.get("rope_scaling") or {}
        return {kind: _complete(rope, full) for kind, rope in ropes.items()}
    given = full.get("rope_scaling") or full.get("rope_parameters") or {}
    one = _complete({"rope_theta": full["rope_theta"]} | given, full)
    return {FULL: one, SLIDING: one}


def _complete(rope: Config, full: Config) -> Config:
    kind = rope.get("rope_type", rope.get("type", "default"))
    if full["model_type"] == "phi3":
        kind = "longrope" if kind in ("su", "yarn") else kind
        rope = {"partial_rotary_factor": full["partial_rotary_factor"]} | rope
        rope = rope | {"original_max_position_embeddings": full["original_max_position_embeddings"]}
    rope = {"original_max_position_embeddings": full["max_position_embeddings"]} | rope
    return rope | {"rope_type": kind}
