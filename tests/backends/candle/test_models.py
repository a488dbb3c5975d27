"""Logits and greedy tokens of candle beside the native engine's and PyTorch's, family by family."""

import json
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest

from ruvllm import LLM, ConfigError, GenerateParams
from ruvllm.errors import ContextLengthError, ModelError
from tests.backends.candle.running import FILES, FOLDERS, natively, on_candle
from tests.conftest import REFERENCE_GGUF, REFERENCE_MODELS
from tests.hostile.gguf_file import GgufFile, text

_candle = pytest.importorskip(
    "ruvllm_candle._candle", reason="ruvllm-candle is not installed: make test-candle builds it"
)

# Computed for any length.
WHOLE = ("llama-gqa", "llama3-rope-tied", "mistral-window", "phi3-fused", "qwen2-bias-tied", "qwen3-qknorm")
# Layers with a window of 8 tokens, beyond which candle looks: computed up to there.
WINDOWED = ("gemma2-softcap", "gemma3-dual-rope")
REFUSED = ("phi3-longrope",)
WINDOW = 8
GREEDY = GenerateParams(temperature=0.0, repetition_penalty=1.0, ignore_eos=True)


def expected_of(name: str) -> dict[str, np.ndarray]:
    return dict(np.load(FOLDERS / name / "expected.npz"))


def logits_behind(path: Path, tokens: list[int], context: int) -> np.ndarray:
    model = _candle.Opened(path).load("cpu", context)
    return np.array(model.logits(tokens), dtype=np.float32)


def test_each_reference_model_stands_in_one_list() -> None:
    assert sorted([*WHOLE, *WINDOWED, *REFUSED]) == REFERENCE_MODELS


@pytest.mark.parametrize("name", WHOLE)
def test_logits_are_the_references(name: str) -> None:
    expected = expected_of(name)
    tokens = [int(token) for token in expected["input_ids"]]
    for count in (1, 5, len(tokens)):
        found = logits_behind(FOLDERS / name, tokens[:count], 64)
        np.testing.assert_allclose(found, expected["logits"][count - 1], atol=1e-3, rtol=0)


@pytest.mark.parametrize("name", WHOLE)
def test_greedy_tokens_are_the_native_engine_s(name: str) -> None:
    expected = expected_of(name)
    prompt = [int(token) for token in expected["input_ids"]]
    with natively(FOLDERS / name) as llm:
        wanted = llm.generate(prompt, GREEDY, max_tokens=24).token_ids
    with on_candle(FOLDERS / name) as llm:
        completion = llm.generate(prompt, GREEDY, max_tokens=24)
    assert completion.token_ids == wanted
    assert list(wanted[:16]) == list(expected["greedy"])
    assert completion.usage.completion_tokens == 24


@pytest.mark.parametrize("name", WINDOWED)
def test_up_to_their_window_these_are_the_native_engine_s_too(name: str) -> None:
    expected = expected_of(name)
    tokens = [int(token) for token in expected["input_ids"]]
    for count in (1, 5, WINDOW):
        found = logits_behind(FOLDERS / name, tokens[:count], WINDOW)
        np.testing.assert_allclose(found, expected["logits"][count - 1], atol=1e-3, rtol=0)
    with natively(FOLDERS / name) as llm:
        wanted = llm.generate(tokens[:3], GREEDY, max_tokens=WINDOW - 3).token_ids
    with on_candle(FOLDERS / name) as llm:
        assert llm.model_info.max_context == WINDOW
        assert llm.generate(tokens[:3], GREEDY, max_tokens=24).token_ids == wanted
        with pytest.raises(ContextLengthError):
            llm.generate(tokens, GREEDY)
    with pytest.raises(
        ConfigError, match=r"max_context is 64; this model has 8 at most on candle: .* window"
    ):
        on_candle(FOLDERS / name, max_context=64)


@pytest.mark.parametrize("name", WINDOWED)
def test_beyond_their_window_candle_computes_something_else(name: str) -> None:
    """Why the context ends there: were it made longer, answers would be another model's."""
    expected = expected_of(name)
    tokens = [int(token) for token in expected["input_ids"]]
    found = logits_behind(FOLDERS / name, tokens, 64)
    assert np.abs(found - expected["logits"][-1]).max() > 0.01


@pytest.mark.parametrize(
    ("path", "what"),
    [
        (FOLDERS / "phi3-longrope", r"scaled \(long RoPE\)"),
        (FILES / "llama3-rope-tied.gguf", r"own divisors \(rope_freqs.weight\)\)"),
    ],
)
def test_what_it_would_compute_otherwise_is_refused_by_name(path: Path, what: str) -> None:
    with pytest.raises(ModelError, match=rf"candle does not compute .*{what}; use the native backend"):
        on_candle(path)


@pytest.mark.parametrize(
    ("name", "changes", "what"),
    [
        ("llama-gqa", {"hidden_act": "gelu_pytorch_tanh"}, "feed-forward gate is GeluTanh"),
        ("qwen3-qknorm", {"hidden_act": "gelu_pytorch_tanh"}, "feed-forward gate is GeluTanh"),
        ("gemma3-dual-rope", {"query_pre_attn_scalar": 8}, "scores are scaled by"),
    ],
)
def test_what_a_config_says_otherwise_is_refused(
    tmp_path: Path, name: str, changes: dict[str, object], what: str
) -> None:
    folder = tmp_path / name
    shutil.copytree(FOLDERS / name, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))
    with natively(folder) as llm:
        assert llm.generate([5, 9], GREEDY, max_tokens=2).token_ids
    with pytest.raises(ModelError, match=what):
        on_candle(folder)


def test_tensors_are_where_our_reader_finds_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an alignment in 64 bits candle reads nothing, and would take every weight from another place."""
    file = GgufFile.read(FILES / "llama-gqa.gguf")
    file.values["general.alignment"] = (10, struct.pack("<Q", 8))
    # So that the data do not begin at a multiple of 32 by accident.
    file.values["general.note"] = (8, text("x" * 11))
    monkeypatch.setattr("tests.hostile.gguf_file.ALIGNMENT", 8)
    path = tmp_path / "llama-gqa.gguf"
    path.write_bytes(file.to_bytes())
    expected = expected_of("llama-gqa")
    found = logits_behind(path, [int(token) for token in expected["input_ids"]], 64)
    np.testing.assert_allclose(found, expected["logits"][-1], atol=1e-3, rtol=0)


@pytest.mark.parametrize("name", [one for one in REFERENCE_GGUF if one != "llama3-rope-tied"])
def test_greedy_tokens_of_files(name: str) -> None:
    path = FILES / f"{name}.gguf"
    prompt = [int(token) for token in expected_of(name)["input_ids"]]
    logits = logits_behind(path, prompt, 64)
    np.testing.assert_allclose(logits, expected_of(name)["logits"][-1], atol=1e-3, rtol=0)
    with natively(path) as llm:
        wanted = llm.generate(prompt, GREEDY, max_tokens=24).token_ids
    with on_candle(path) as llm:
        assert llm.generate(prompt, GREEDY, max_tokens=24).token_ids == wanted


@pytest.mark.parametrize(
    "path", [FOLDERS / "llama-gqa", FILES / "qwen2-bias-tied.gguf", FILES / "qwen3-qknorm.gguf"]
)
def test_a_prompt_of_several_parts_is_one_text(path: Path) -> None:
    """Prompts are computed in parts, each behind the others."""
    prompt = [3 + index * 7 % 300 for index in range(300)]
    with natively(path) as llm:
        wanted = llm.generate(prompt, GREEDY, max_tokens=12).token_ids
    with on_candle(path) as llm:
        assert llm.generate(prompt, GREEDY, max_tokens=12).token_ids == wanted
        # Nothing is left of a text when another one begins.
        assert llm.generate(prompt[:40], GREEDY, max_tokens=4).token_ids
        assert llm.generate(prompt, GREEDY, max_tokens=12).token_ids == wanted


def test_the_context_is_the_files_where_candle_has_fewer_positions(tmp_path: Path) -> None:
    assert _candle.Opened(FILES / "llama-gqa.gguf").context == (512, None)
    for family, positions in (("llama-gqa", 4096), ("qwen2-bias-tied", 8192)):
        file = GgufFile.read(FILES / f"{family}.gguf")
        file.set_number(f"{family.partition('-')[0]}.context_length", 16384)
        path = tmp_path / f"{family}.gguf"
        path.write_bytes(file.to_bytes())
        limit, why = _candle.Opened(path).context
        assert limit == positions
        assert "candle" in why
    limit, why = _candle.Opened(FOLDERS / "gemma2-softcap").context
    assert limit == WINDOW
    assert "window of 8 tokens" in why


def test_what_is_told_of_memory_is_known() -> None:
    with on_candle(FOLDERS / "llama-gqa") as llm:
        numbers = llm.model_info.num_parameters
        assert llm.memory_stats().weight_bytes == numbers * 4
        assert llm.memory_stats().kv_total_bytes == 0
    with on_candle(FILES / "llama-gqa.gguf") as llm:
        assert llm.memory_stats().weight_bytes == 0


def test_threads_are_fixed_once() -> None:
    with on_candle(FOLDERS / "llama-gqa") as llm:
        threads = llm.model_info.threads
    with pytest.raises(ConfigError, match=rf"candle has {threads} in this process"):
        LLM(FOLDERS / "llama-gqa", backend="candle", threads=threads + 1, progress=False)
