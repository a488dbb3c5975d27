"""GGUF adapters that are broken, or cannot be honoured: refused whole, and nothing changes."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from ruvllm import LLM
from ruvllm.errors import AdapterError
from tests.adapters.gguf_files import KEYS, as_in_gguf, write
from tests.adapters.peft_files import Tensors, tensors
from tests.conftest import FIXTURES


@pytest.fixture(scope="module")
def llm() -> Iterator[LLM]:
    with LLM(FIXTURES / "gguf" / "llama-gqa.gguf", threads=1) as llm:
        yield llm


@pytest.fixture
def good(llm: LLM, tmp_path: Path) -> Iterator[Path]:
    path = write(tmp_path / "good.gguf", as_in_gguf(tensors()))
    info = llm.adapters.load("good", path)
    yield path
    left = llm.adapters.list()
    for one in left:
        llm.adapters.unload(one.name)
    assert left == [info]


def refused(llm: LLM, path: Path) -> str:
    with pytest.raises(AdapterError) as error:
        llm.adapters.load("broken", path)
    with pytest.raises(AdapterError):
        llm.adapters.replace("good", path)
    return str(error.value)


def without(*keys: str) -> dict[str, Any]:
    return {key: value for key, value in KEYS.items() if key not in keys}


# By what the file says, each with words of the message.
SAID: dict[str, tuple[dict[str, Any], str]] = {
    "a model": (KEYS | {"general.type": "model"}, "general.type is 'model'"),
    "no type": (without("general.type"), "general.type is None"),
    "a type that is a number": (KEYS | {"general.type": 7}, "general.type is 7"),
    "a control vector": (KEYS | {"adapter.type": "controlvector"}, "adapter.type is 'controlvector'"),
    "no type of adapter": (without("adapter.type"), "adapter.type is None"),
    "of another architecture": (
        KEYS | {"general.architecture": "qwen2"},
        "for the architecture 'qwen2'; the model is 'llama'",
    ),
    "of an architecture of nobody": (KEYS | {"general.architecture": "x" * 500}, "the model is 'llama'"),
    "of no architecture": (without("general.architecture"), "general.architecture is None"),
    "alpha is no number": (KEYS | {"adapter.lora.alpha": "8"}, "adapter.lora.alpha is '8'"),
    "alpha is whole": (KEYS | {"adapter.lora.alpha": 8}, "adapter.lora.alpha is 8"),
    "alpha is a list": (KEYS | {"adapter.lora.alpha": [8.0]}, "adapter.lora.alpha is None"),
    "alpha is infinite": (KEYS | {"adapter.lora.alpha": float("inf")}, "adapter.lora.alpha is inf"),
    "alpha is not a number": (KEYS | {"adapter.lora.alpha": float("nan")}, "adapter.lora.alpha is nan"),
    "aLoRA": (KEYS | {"adapter.alora.invocation_tokens": [1, 2]}, "adapter.alora.invocation_tokens is set"),
    "one of several files": (KEYS | {"split.count": 1, "split.no": 0}, "split.count is set"),
}


@pytest.mark.parametrize("name", SAID)
def test_what_cannot_be_honoured(llm: LLM, good: Path, tmp_path: Path, name: str) -> None:
    keys, words = SAID[name]
    assert words in refused(llm, write(tmp_path / "broken.gguf", as_in_gguf(tensors()), keys))


def test_all_reasons_are_told(llm: LLM, good: Path, tmp_path: Path) -> None:
    keys = {"general.architecture": "llama", "adapter.lora.alpha": "much"}
    message = refused(llm, write(tmp_path / "broken.gguf", as_in_gguf(tensors()), keys))
    assert all(key in message for key in ("general.type", "adapter.type", "adapter.lora.alpha"))


def but_for(*names: str) -> Callable[[Tensors], Tensors]:
    return lambda given: {name: value for name, value in given.items() if name not in names}


def and_also(name: str, *shape: int, value: float = 0.0) -> Callable[[Tensors], Tensors]:
    return lambda given: {**given, name: np.full(shape, value, np.float32)}


A, B = "blk.1.attn_q.weight.lora_a", "blk.1.attn_q.weight.lora_b"
DAMAGED: dict[str, tuple[Callable[[Tensors], Tensors], str]] = {
    "no tensors": (lambda _: {}, "no tensors"),
    "a half is missing": (but_for(A), "q_proj of layer 1 has no lora_a"),
    "the other half is missing": (but_for(B), "q_proj of layer 1 has no lora_b"),
    "NaN": (and_also(A, 4, 64, value=np.nan), f"'{A}' has values that are not finite"),
    "infinite": (and_also(B, 64, 4, value=np.inf), f"'{B}' has values that are not finite"),
    "of another model's inputs": (and_also(A, 4, 80), "80 inputs"),
    "of another model's outputs": (and_also(B, 80, 4), "80 outputs"),
    "of two ranks": (and_also(A, 8, 64), "[8, 64] and [64, 4]"),
    "turned over": (and_also(A, 64, 4), "[64, 4] and [64, 4]"),
    "of one dimension": (and_also(A, 256), "[256]"),
    "of three dimensions": (and_also(A, 1, 4, 64), "[1, 4, 64]"),
    "of rank 70000": (
        lambda given: {**given, A: np.zeros((70_000, 64), np.float32), B: np.zeros((64, 70_000), np.float32)},
        "q_proj of layer 1 has rank 70000",
    ),
    "whole numbers": (lambda given: {**given, A: np.zeros((4, 64), np.int32)}, f"'{A}' cannot be read"),
    "a head": (and_also("output.weight.lora_a", 4, 64), "'output.weight.lora_a' is of a kind"),
    "an embedding": (and_also("token_embd.weight.lora_b", 4, 64), "'token_embd.weight.lora_b' is of a kind"),
    "a norm": (and_also("blk.0.attn_norm.weight", 64), "'blk.0.attn_norm.weight' is of a kind"),
    "a bias": (and_also("blk.0.attn_q.bias.lora_a", 4, 64), "'blk.0.attn_q.bias.lora_a' is of a kind"),
    "a map of nobody": (and_also("blk.0.attn_w.weight.lora_a", 4, 64), "'blk.0.attn_w.weight.lora_a' is of"),
    "PEFT's name": (and_also("base_model.model.x.lora_A.weight", 4, 64), "is of a kind that is not read"),
    "a layer too many": (
        lambda given: {**given, **as_in_gguf(tensors(layers=(7,)))},
        "the model has 3 layers",
    ),
    "a map that the model has not": (
        lambda given: {
            **given,
            "blk.0.attn_qkv.weight.lora_a": np.zeros((4, 64), np.float32),
            "blk.0.attn_qkv.weight.lora_b": np.zeros((128, 4), np.float32),
        },
        "no such map",
    ),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_tensors_that_do_not_fit(llm: LLM, good: Path, tmp_path: Path, name: str) -> None:
    damage, words = DAMAGED[name]
    assert words in refused(llm, write(tmp_path / "broken.gguf", damage(as_in_gguf(tensors()))))


def test_blocks_whose_scale_is_no_number(llm: LLM, good: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "broken.gguf", as_in_gguf(tensors()), kind="Q8_0")
    data = bytearray(path.read_bytes())
    first = min(gguf.GGUFReader(path).tensors, key=lambda tensor: int(tensor.data_offset))
    assert first.tensor_type.name == "Q8_0"
    data[first.data_offset : first.data_offset + 2] = np.float16(np.inf).tobytes()
    path.write_bytes(data)
    message = refused(llm, path)
    assert f"'{first.name}' cannot be read" in message
    assert "not finite" in message


def test_every_length_of_a_file_that_was_cut(llm: LLM, good: Path, tmp_path: Path) -> None:
    whole = good.read_bytes()
    path = tmp_path / "cut.gguf"
    for length in {0, 3, 4, 23, 24, 100, len(whole) // 2, len(whole) - 64, len(whole) - 1}:
        path.write_bytes(whole[:length])
        assert "cut.gguf is no whole GGUF file" in refused(llm, path)


def test_files_of_other_kinds(llm: LLM, good: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    assert "x.gguf cannot be read" in refused(llm, path)
    path.write_bytes(b"\x80\x04pickle")
    assert "x.gguf is no whole GGUF file" in refused(llm, path)
    # A model is none: it says nothing of being one, or that it is a model.
    assert "general.type is" in refused(llm, FIXTURES / "gguf" / "llama-gqa.gguf")
    path.unlink()
    path.mkdir()
    assert "adapter_config.json" in refused(llm, path)
    assert "no .gguf file" in refused(llm, tmp_path / "x.bin")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes with names")
def test_a_pipe_is_no_file(llm: LLM, good: Path, tmp_path: Path) -> None:
    """To open it would wait for somebody who writes."""
    path = tmp_path / "x.gguf"
    os.mkfifo(path)
    assert "x.gguf" in refused(llm, path)
