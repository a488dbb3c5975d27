"""Models that no fixture has seen: every family in other shapes, keys, types and files, against NumPy."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ruvllm
from tests.support.numpy_reference import Reference, read_settings
from tests.support.numpy_reference.gguf_files import write_gguf
from tests.support.numpy_reference.random_models import (
    in_older_keys,
    new_config,
    random_weights,
    write_folder,
)

FIXTURES = Path(__file__).parents[1] / "fixtures" / "models"
PROMPT_LENGTHS = (1, 16, 17, 33, 100)
TOLERANCE = 1e-3
GREEDY = ruvllm.GenerateParams(
    temperature=0.0, max_tokens=16, repetition_penalty=1.0, ignore_eos=True, top_p=1.0
)


@dataclass(frozen=True)
class Case:
    """A model, what is unlike others in it, and how it is stored."""

    family: str
    name: str
    changes: dict[str, Any] = field(default_factory=dict)
    older_keys: bool = False
    dtype: str = "F32"
    shards: int = 1
    spread: float = 0.08
    prompt: int = 17
    cached: bool = False

    def __str__(self) -> str:
        return f"{self.family}-{'older-' if self.older_keys else ''}{self.name}"


def rope(kind: str, **values: Any) -> dict[str, Any]:
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 10_000.0} | values}


def factors(pairs: int) -> dict[str, list[float]]:
    return {
        "short_factor": [1.0 + 0.07 * pair for pair in range(pairs)],
        "long_factor": [1.4 + 0.6 * pair for pair in range(pairs)],
    }


LLAMA3 = rope(
    "llama3",
    rope_theta=500_000.0,
    factor=32.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=48,
)
LINEAR = rope("linear", factor=3.0)
DYNAMIC = rope("dynamic", factor=2.0) | {"max_position_embeddings": 128}
DYNAMIC_BEYOND = rope("dynamic", factor=8.0) | {"max_position_embeddings": 16}
YARN = rope("yarn", factor=4.0, original_max_position_embeddings=64) | {"max_position_embeddings": 256}
YARN_MSCALE = rope(
    "yarn",
    factor=8.0,
    original_max_position_embeddings=32,
    mscale=1.2,
    mscale_all_dim=0.7,
    beta_fast=16,
    beta_slow=2,
    truncate=False,
) | {"max_position_embeddings": 256}
YARN_FACTOR = rope("yarn", factor=4.0, original_max_position_embeddings=64, attention_factor=1.3)


def longrope(pairs: int, trained: int = 24, **values: Any) -> dict[str, Any]:
    values |= {"original_max_position_embeddings": trained}
    return rope("longrope", **factors(pairs), **values) | {"max_position_embeddings": 192}


def phi_longrope(pairs: int, **values: Any) -> dict[str, Any]:
    changes = longrope(pairs, **values)
    del changes["rope_parameters"]["original_max_position_embeddings"]
    return changes | {"original_max_position_embeddings": 24}


def nested(full: dict[str, Any], local_base: float = 10_000.0) -> dict[str, Any]:
    sliding = {"rope_type": "default", "rope_theta": local_base}
    return {"rope_parameters": {"full_attention": full, "sliding_attention": sliding}}


SMALL_LM = {
    "hidden_size": 576,
    "intermediate_size": 672,
    "num_hidden_layers": 2,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "head_dim": 64,
}
GEMMA_LINEAR = nested({"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6})
SLIDING_QWEN = {"use_sliding_window": True, "sliding_window": 6, "num_hidden_layers": 5}

SHAPES = [
    Case("llama", "one-layer-one-kv-head", {"num_key_value_heads": 1, "num_hidden_layers": 1}),
    Case("llama", "as-many-kv-heads-5-layers", {"num_key_value_heads": 4, "num_hidden_layers": 5}),
    Case("llama", "wide-heads-tied", {"head_dim": 40, "tie_word_embeddings": True}),
    Case("llama", "narrow-heads", {"head_dim": 6, "vocab_size": 257}),
    Case("llama", "odd-widths", {"hidden_size": 44, "intermediate_size": 77, "head_dim": 10}),
    Case("llama", "576-wide-9-heads-3-kv", SMALL_LM, spread=0.04),
    Case("llama", "bias", {"attention_bias": True}),
    Case("mistral", "window-of-5-odd-vocab", {"sliding_window": 5, "vocab_size": 321}),
    Case("mistral", "window-of-1", {"sliding_window": 1, "num_key_value_heads": 1}),
    Case("mistral", "window-of-16-tied", {"sliding_window": 16, "tie_word_embeddings": True}),
    Case("mistral", "window-of-17-wide-heads", {"sliding_window": 17, "head_dim": 32}),
    Case("mistral", "no-window-3-of-9", {"num_attention_heads": 9, "num_key_value_heads": 3}),
    Case("qwen2", "one-kv-head-untied", {"num_key_value_heads": 1}),
    Case("qwen2", "as-many-kv-heads-tied", {"num_key_value_heads": 4, "tie_word_embeddings": True}),
    Case(
        "qwen2", "3-of-9-hidden-72", {"hidden_size": 72, "num_attention_heads": 9, "num_key_value_heads": 3}
    ),
    Case("qwen2", "windows-from-layer-2", SLIDING_QWEN | {"max_window_layers": 2}),
    Case("qwen2", "window-without-its-switch", {"sliding_window": 4, "max_window_layers": 0}),
    Case("qwen3", "wide-heads-one-kv-head", {"head_dim": 36, "num_key_value_heads": 1}),
    Case("qwen3", "as-many-kv-heads-tied", {"num_key_value_heads": 4, "tie_word_embeddings": True}),
    Case("qwen3", "bias", {"attention_bias": True, "vocab_size": 333}),
    Case(
        "qwen3",
        "windows-by-layer",
        SLIDING_QWEN | {"layer_types": ["full_attention", "sliding_attention"] * 2 + ["sliding_attention"]},
    ),
    Case("phi3", "one-kv-head-window", {"num_key_value_heads": 1, "sliding_window": 7}),
    Case("phi3", "as-many-kv-heads-tied", {"num_key_value_heads": 4, "tie_word_embeddings": True}),
    Case("phi3", "odd-widths", {"hidden_size": 40, "intermediate_size": 51, "num_hidden_layers": 1}),
    Case("gemma2", "tight-caps", {"attn_logit_softcapping": 1.5, "final_logit_softcapping": 2.5}, spread=0.3),
    Case("gemma2", "no-caps", {"attn_logit_softcapping": None, "final_logit_softcapping": None}),
    Case(
        "gemma2",
        "wide-heads-one-kv-head-4-layers",
        {"head_dim": 40, "num_key_value_heads": 1, "num_hidden_layers": 4},
    ),
    Case("gemma2", "untied-bias", {"tie_word_embeddings": False, "attention_bias": True}),
    Case("gemma2", "all-full", {"layer_types": ["full_attention"] * 3}),
    Case("gemma3_text", "7-layers-window-of-3", {"num_hidden_layers": 7, "sliding_window": 3}),
    Case(
        "gemma3_text",
        "pattern-of-2",
        {"layer_types": ["sliding_attention", "full_attention"], "num_hidden_layers": 2},
    ),
    Case(
        "gemma3_text",
        "unused-cap",
        {"attn_logit_softcapping": 1.0, "final_logit_softcapping": 3.0},
        spread=0.3,
    ),
    Case("gemma3_text", "as-many-kv-heads-untied", {"num_key_value_heads": 4, "tie_word_embeddings": False}),
]
ROPES = [
    Case("llama", "llama3", LLAMA3),
    Case("llama", "linear", LINEAR),
    Case("llama", "dynamic-within", DYNAMIC),
    Case("llama", "dynamic-beyond", DYNAMIC_BEYOND, prompt=33, cached=True),
    Case("llama", "yarn", YARN),
    Case("llama", "yarn-beyond-the-trained", YARN | {"max_position_embeddings": 64}, prompt=100),
    Case("llama", "yarn-two-mscales", YARN_MSCALE),
    Case("llama", "yarn-attention-factor", YARN_FACTOR),
    Case("llama", "longrope-crossing", longrope(8)),
    Case("llama", "longrope-factor", longrope(8, factor=5.0), prompt=33),
    Case("mistral", "llama3", LLAMA3 | {"sliding_window": 9}),
    Case("mistral", "yarn", YARN),
    Case("qwen2", "yarn", YARN | {"hidden_size": 64}),
    Case("qwen2", "longrope-crossing", longrope(6)),
    Case("qwen2", "dynamic-beyond", DYNAMIC_BEYOND, prompt=17, cached=True),
    Case("qwen3", "yarn-no-truncation", YARN_MSCALE),
    Case("qwen3", "longrope-attention-factor", longrope(8, attention_factor=1.25)),
    Case("qwen3", "linear", LINEAR),
    Case("phi3", "longrope-crossing", phi_longrope(6)),
    Case("phi3", "longrope-long", phi_longrope(6, factor=4.0), prompt=33),
    Case("phi3", "longrope-attention-factor", phi_longrope(6, attention_factor=0.9), prompt=16),
    Case("phi3", "half-of-the-head-turns", rope("default", partial_rotary_factor=0.5)),
    Case(
        "phi3", "longrope-three-quarters", {"hidden_size": 64} | phi_longrope(6, partial_rotary_factor=0.75)
    ),
    Case("gemma2", "linear", LINEAR),
    Case("gemma2", "yarn", YARN),
    Case("gemma3_text", "linear-global", GEMMA_LINEAR | {"num_hidden_layers": 6}),
    Case("gemma3_text", "other-local-base", nested({"rope_type": "default", "rope_theta": 5e5}, 2_500.0)),
]
OLDER_KEYS = [
    Case("llama", "plain", {"head_dim": ..., "num_key_value_heads": ...}, older_keys=True),
    Case("llama", "no-rope-at-all", {"head_dim": ..., "rope_parameters": {}}, older_keys=True),
    Case("llama", "llama3", LLAMA3, older_keys=True),
    Case("llama", "linear", LINEAR, older_keys=True),
    Case("llama", "dynamic-beyond", DYNAMIC_BEYOND, older_keys=True, cached=True),
    Case("llama", "yarn", YARN, older_keys=True),
    Case(
        "mistral",
        "default-window-and-kv-heads",
        {"sliding_window": ..., "num_attention_heads": 8, "num_key_value_heads": ..., "head_dim": ...},
        older_keys=True,
    ),
    Case(
        "mistral", "window-null-kv-heads", {"sliding_window": 6, "num_key_value_heads": None}, older_keys=True
    ),
    Case("qwen2", "windows-from-layer-1", SLIDING_QWEN | {"max_window_layers": 1}, older_keys=True),
    Case("qwen2", "plain", {"use_sliding_window": False, "sliding_window": 4}, older_keys=True),
    Case("qwen3", "default-head-dim", {"head_dim": ..., "num_hidden_layers": 1}, older_keys=True),
    Case("phi3", "su", phi_longrope(6) | {"rms_norm_eps": ...}, older_keys=True),
    Case("phi3", "plain", {"num_key_value_heads": ..., "sliding_window": 10}, older_keys=True),
    Case("phi3", "half-of-the-head-turns", rope("default", partial_rotary_factor=0.5), older_keys=True),
    Case(
        "gemma2",
        "default-heads-and-caps",
        {
            "head_dim": ...,
            "num_key_value_heads": ...,
            "query_pre_attn_scalar": ...,
            "tie_word_embeddings": ...,
        },
        older_keys=True,
    ),
    Case(
        "gemma3_text", "pattern-of-3", {"sliding_window_pattern": 3, "num_hidden_layers": 7}, older_keys=True
    ),
    Case("gemma3_text", "default-pattern-linear", GEMMA_LINEAR | {"num_hidden_layers": 7}, older_keys=True),
]
STORED = [
    Case(family, f"{dtype.lower()}-{shards}-files", {}, older_keys=shards == 3, dtype=dtype, shards=shards)
    for family in ("llama", "mistral", "qwen2", "qwen3", "phi3", "gemma2", "gemma3_text")
    for dtype, shards in (("BF16", 3), ("F16", 2))
] + [Case("llama", "bf16-576-wide", SMALL_LM, dtype="BF16", spread=0.04)]

BLOCKS = {"hidden_size": 64, "intermediate_size": 96}  # rows that blocks of 32 divide
GEMMA3_GGUF = BLOCKS | {"num_hidden_layers": 7, "query_pre_attn_scalar": 16}
GGUF = [
    Case(family, f"{dtype.lower()}-in-{'shards' if shards else 'one'}", changes, dtype=dtype, shards=shards)
    for family, changes in (
        ("llama", BLOCKS | {"num_key_value_heads": 1}),
        ("qwen2", BLOCKS | {"tie_word_embeddings": True}),
        ("qwen3", BLOCKS | {"head_dim": 32}),
        ("gemma3_text", GEMMA3_GGUF),
    )
    for dtype, shards in (("F32", 0), ("F16", 7), ("BF16", 0), ("Q8_0", 5))
] + [
    Case("llama", "llama3", BLOCKS | LLAMA3 | {"tie_word_embeddings": True}, dtype="Q8_0", shards=0),
    Case("llama", "linear", BLOCKS | LINEAR, dtype="F16", shards=0),
    Case("llama", "yarn", BLOCKS | YARN, shards=0),
    Case("llama", "bias", BLOCKS | {"attention_bias": True}, shards=0),
    Case("llama", "576-wide-9-heads-3-kv", SMALL_LM, dtype="Q8_0", shards=0, spread=0.04),
    Case(
        "mistral",
        "3-of-9-wide-heads",
        BLOCKS | {"num_attention_heads": 9, "num_key_value_heads": 3, "head_dim": 32},
        shards=0,
    ),
    Case("qwen2", "yarn", BLOCKS | YARN, dtype="Q8_0", shards=0),
    Case("qwen3", "bias", BLOCKS | {"attention_bias": True, "vocab_size": 333}, shards=0),
    Case("phi3", "plain-window", BLOCKS | {"sliding_window": 9}, dtype="Q8_0", shards=0),
    Case("phi3", "longrope-crossing", BLOCKS | phi_longrope(8), shards=4),
    Case("phi3", "half-of-the-head-turns", BLOCKS | rope("default", partial_rotary_factor=0.5), shards=0),
    Case(
        "gemma2",
        "tight-caps",
        BLOCKS | {"query_pre_attn_scalar": 16, "attn_logit_softcapping": 1.5, "final_logit_softcapping": 2.5},
        spread=0.3,
        dtype="Q8_0",
        shards=0,
    ),
    Case("gemma3_text", "linear-global", GEMMA3_GGUF | GEMMA_LINEAR, shards=0),
    Case("gemma3_text", "other-local-base", GEMMA3_GGUF | nested({"rope_theta": 5e5}, 2_500.0), shards=0),
]


@pytest.mark.parametrize("name", sorted(path.name for path in FIXTURES.iterdir()))
def test_the_oracle_gives_what_transformers_gave(name: str) -> None:
    expected = np.load(FIXTURES / name / "expected.npz")
    oracle, tokens = Reference.open(FIXTURES / name), expected["input_ids"].tolist()
    np.testing.assert_allclose(oracle.logits(tokens), expected["logits"], rtol=0, atol=1e-4)
    assert oracle.greedy(tokens, 16) == expected["greedy"].tolist()


@pytest.mark.parametrize("case", [*SHAPES, *ROPES, *OLDER_KEYS, *STORED], ids=str)
def test_variant(case: Case, tmp_path: Path) -> None:
    config = new_config(case.family, **case.changes)
    seed = sum(map(ord, str(case)))
    weights = random_weights(config, seed, case.spread)
    stored = in_older_keys(config) if case.older_keys else config
    if case.name == "su":
        stored["rope_scaling"]["type"] = "su"
    write_folder(tmp_path, stored, weights, dtype=case.dtype, shards=case.shards)
    check(tmp_path, Reference.open(tmp_path), seed, case)


@pytest.mark.parametrize("case", GGUF, ids=str)
def test_gguf_variant(case: Case, tmp_path: Path) -> None:
    config = new_config(case.family, **case.changes)
    seed = sum(map(ord, str(case)))
    weights = random_weights(config, seed, case.spread)
    stored = write_gguf(tmp_path / "m.gguf", config, weights, kind=case.dtype, tensors_per_file=case.shards)
    first = min(tmp_path.iterdir())
    assert ("-00001-of-" in first.name) == bool(case.shards)
    check(first, Reference(read_settings(config), stored), seed, case)


@pytest.mark.parametrize("is_copy", [True, False], ids=["copy", "other"])
def test_a_tied_model_with_a_head_in_its_file(is_copy: bool, tmp_path: Path) -> None:
    """As transformers 5: a copy of the embedding is one, another head counts more than the setting."""
    case = Case("llama", "tied", {"tie_word_embeddings": True}, dtype="BF16")
    config = new_config(case.family, **case.changes)
    weights = random_weights(config, 5)
    head = random_weights(config | {"tie_word_embeddings": False}, 6)["lm_head.weight"]
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"] if is_copy else head
    write_folder(tmp_path, config, weights, dtype=case.dtype)
    check(tmp_path, Reference.open(tmp_path), 5, case)


@pytest.mark.parametrize("family", ["phi3", "gemma3_text"])
def test_prompts_that_run_together(family: str, tmp_path: Path) -> None:
    """Each has its own rotary frequencies and windows: short ones, long ones, and one that crosses."""
    changes = phi_longrope(6) if family == "phi3" else {"num_hidden_layers": 7}
    config = new_config(family, **changes)
    write_folder(tmp_path, config, random_weights(config, 9))
    oracle, rng = Reference.open(tmp_path), np.random.default_rng(10)
    prompts = [rng.integers(0, oracle.vocab_size, length).tolist() for length in (3, 17, 40)]
    with ruvllm.LLM(tmp_path, activations="f32", threads=2, kv_cache_bytes=64 << 20) as llm:
        completions = llm.generate(prompts, GREEDY)
    for prompt, completion in zip(prompts, completions, strict=True):
        assert list(completion.token_ids) == oracle.greedy(prompt, 16)


def check(model: Path, oracle: Reference, seed: int, case: Case) -> float:
    """The engine's logits are the oracle's for prompts of all lengths, and so is its greedy continuation."""
    rng = np.random.default_rng(seed + 1)
    vocab_size = oracle.vocab_size
    with ruvllm.LLM(model, activations="f32", threads=2, kv_cache_bytes=64 << 20) as llm:
        largest = 0.0
        for length in PROMPT_LENGTHS:
            tokens = rng.integers(0, vocab_size, length).tolist()
            difference = np.abs(llm.logits(tokens) - oracle.logits(tokens)).max()
            assert difference < TOLERANCE, f"prompt of {length} tokens: {difference}"
            largest = max(largest, float(difference))
        prompt = rng.integers(0, vocab_size, case.prompt).tolist()
        generated = llm.generate(prompt, GREEDY).token_ids
    assert list(generated) == oracle.greedy(prompt, 16, cached=case.cached)
    return largest
