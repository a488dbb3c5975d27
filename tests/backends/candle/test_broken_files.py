"""Broken files are errors of ours, before candle's reader or from behind it, never the end of a process."""

import json
import random
from pathlib import Path

import pytest

from ruvllm.errors import ModelError, RuvLLMError
from tests.backends.candle.running import FILES, FOLDERS, on_candle

_candle = pytest.importorskip(
    "ruvllm_candle._candle", reason="ruvllm-candle is not installed: make test-candle builds it"
)

TINY = FILES / "qwen2-bias-tied.gguf"


def test_a_file_that_is_cut_off(tmp_path: Path) -> None:
    whole = TINY.read_bytes()
    for length in (0, 4, 23, 1000, len(whole) // 2, len(whole) - 1):
        path = tmp_path / "cut.gguf"
        path.write_bytes(whole[:length])
        with pytest.raises(RuvLLMError):
            on_candle(path)


def test_changed_heads_end_nothing(tmp_path: Path) -> None:
    """By chance: whatever candle makes of what our reader lets pass, it is an error or a model."""
    whole = TINY.read_bytes()
    chance = random.Random(7)
    path = tmp_path / "changed.gguf"
    refused = 0
    for _ in range(120):
        changed = bytearray(whole)
        for _ in range(chance.randint(1, 3)):
            changed[chance.randrange(12_000)] = chance.randrange(256)
        path.write_bytes(changed)
        try:
            _candle.Opened(path).load("cpu", 64).logits([1, 2, 3])
        except RuvLLMError:
            refused += 1
    assert refused > 10


@pytest.mark.parametrize(
    ("key", "value"),
    [("intermediate_size", 97), ("num_hidden_layers", 5), ("vocab_size", 321), ("num_key_value_heads", 1)],
)
def test_a_configuration_of_other_shapes(tmp_path: Path, key: str, value: int) -> None:
    source = FOLDERS / "llama-gqa"
    (tmp_path / "model.safetensors").write_bytes((source / "model.safetensors").read_bytes())
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    (tmp_path / "config.json").write_text(json.dumps(config | {key: value}), encoding="utf-8")
    with pytest.raises(ModelError):
        on_candle(tmp_path)
    # Without our own loader in front; some of these are panics of candle's.
    with pytest.raises(ModelError, match="candle cannot load the model"):
        _candle.Opened(tmp_path).load("cpu", 64)


def test_a_device_that_there_is_not() -> None:
    opened = _candle.Opened(TINY)
    for name in ("cuda:0", "metal"):
        if name not in _candle.devices():
            with pytest.raises(RuvLLMError):
                opened.load(name, 64)
    with pytest.raises(RuvLLMError, match="must be 'cpu', 'metal' or 'cuda:INDEX'"):
        opened.load("tpu", 64)


def test_tokens_and_lengths_that_cannot_be() -> None:
    model = _candle.Opened(TINY).load("cpu", 16)
    for tokens in ([100_000], [1] * 17):
        with pytest.raises(RuvLLMError):
            model.logits(tokens)
    assert len(model.logits([1, 2])) == 320
