"""Adapters that are broken, or cannot be honoured: refused whole, with what is wrong, and nothing changes."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from ruvllm import LLM
from ruvllm.errors import AdapterError, ConfigError, NotFoundError, RuvLLMError
from tests.adapters.peft_files import Tensors, config, key, tensors, write
from tests.conftest import FIXTURES


@pytest.fixture(scope="module")
def llm() -> Iterator[LLM]:
    with LLM(FIXTURES / "models" / "llama-gqa") as llm:
        yield llm


@pytest.fixture
def good(llm: LLM, tmp_path: Path) -> Iterator[str]:
    info = llm.adapters.load("good", write(tmp_path / "good", config(), tensors()))
    yield info.generation
    assert [(one.name, one.generation) for one in llm.adapters.list()] == [("good", info.generation)]
    llm.adapters.unload("good")


# By what a configuration says, each with words of the message.
SETTINGS: dict[str, tuple[dict[str, Any], str]] = {
    "no LoRA": ({"peft_type": "IA3"}, "IA3"),
    "no kind at all": ({"peft_type": None}, "peft_type"),
    "DoRA": ({"use_dora": True}, "use_dora"),
    "modules to save": ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
    "a bias": ({"bias": "all"}, "bias"),
    "a bias of its own": ({"lora_bias": True}, "lora_bias"),
    "aLoRA": ({"alora_invocation_tokens": [1, 2]}, "alora_invocation_tokens"),
    "QALoRA": ({"use_qalora": True}, "use_qalora"),
    "layers twice": ({"layer_replication": [[0, 2], [1, 3]]}, "layer_replication"),
    "token embeddings": ({"trainable_token_indices": [5]}, "trainable_token_indices"),
    "parameters": ({"target_parameters": ["experts"]}, "target_parameters"),
    "Megatron": ({"megatron_config": {"a": 1}}, "megatron_config"),
    "turned weights": ({"fan_in_fan_out": True}, "fan_in_fan_out"),
    "PiSSA": ({"init_lora_weights": "pissa_niter_4"}, "pissa"),
    "OLoRA": ({"init_lora_weights": "olora"}, "olora"),
    "LoftQ": ({"init_lora_weights": "loftq"}, "loftq"),
    "rank 0": ({"r": 0}, "r is 0"),
    "rank 1000000": ({"r": 1_000_000}, "r is 1000000"),
    "a negative rank": ({"r": -4}, "r is -4"),
    "a rank that is none": ({"r": "4"}, "r is '4'"),
    "a rank of true": ({"r": True}, "r is True"),
    "alpha is no number": ({"lora_alpha": "much"}, "lora_alpha"),
    "alpha is infinite": ({"lora_alpha": float("inf")}, "lora_alpha"),
    "a pattern that is an expression": ({"rank_pattern": {"(a+)+$": 4}}, "regular expressions"),
    "a target that is an expression": ({"target_modules": ".*(q|v)_proj"}, "regular expressions"),
    "a pattern of rank 0": ({"rank_pattern": {"q_proj": 0}}, "rank_pattern of q_proj"),
    "patterns that are a list": ({"alpha_pattern": [1]}, "alpha_pattern"),
    "layers that are none": ({"layers_to_transform": ["first"]}, "layers_to_transform"),
    "another rank than the tensors": ({"r": 8}, "of rank 8"),
    "tensors beyond the targets": ({"target_modules": ["q_proj"]}, "no target"),
    "tensors of excluded modules": ({"exclude_modules": ["v_proj"]}, "no target"),
    "tensors of other layers": ({"layers_to_transform": [0, 1]}, "no target"),
    "all of it": ({"use_dora": True, "bias": "all", "r": 0}, "use_dora is True; bias is 'all'; r is 0"),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_configuration_that_cannot_be_honoured(llm: LLM, good: str, tmp_path: Path, name: str) -> None:
    changes, words = SETTINGS[name]
    folder = write(tmp_path / "broken", config(**changes), tensors())
    with pytest.raises(AdapterError) as refused:
        llm.adapters.load("broken", folder)
    assert words in str(refused.value)
    with pytest.raises(AdapterError):
        llm.adapters.replace("good", folder)


def without(*names: str) -> Callable[[Tensors], Tensors]:
    return lambda given: {name: value for name, value in given.items() if name not in names}


def with_tensor(name: str, value: Any) -> Callable[[Tensors], Tensors]:
    return lambda given: {**given, name: value}


A, B = key(1, "q_proj", "A"), key(1, "q_proj", "B")
DAMAGED: dict[str, tuple[Callable[[Tensors], Tensors], str]] = {
    "no tensors": (lambda _: {}, "no tensors"),
    "a half is missing": (without(A), "no lora_A"),
    "the other half is missing": (without(B), "no lora_B"),
    "NaN": (with_tensor(A, np.full((4, 64), np.nan, np.float32)), "not finite"),
    "infinite": (with_tensor(B, np.full((64, 4), np.inf, np.float32)), "not finite"),
    "of another model": (with_tensor(A, np.zeros((4, 80), np.float32)), "80 inputs"),
    "of another model's outputs": (with_tensor(B, np.zeros((80, 4), np.float32)), "80 outputs"),
    "of no shape": (with_tensor(A, np.zeros((4,), np.float32)), "shapes"),
    "of three dimensions": (with_tensor(A, np.zeros((4, 8, 8), np.float32)), "shapes"),
    "of no rank": (with_tensor(A, np.zeros((0, 64), np.float32)), "of shape [0, 64] is zero"),
    "turned over": (with_tensor(A, np.zeros((64, 4), np.float32)), "shapes"),
    "whole numbers": (with_tensor(A, np.zeros((4, 64), np.int64)), "I64"),
    "a head": (
        with_tensor("base_model.model.lm_head.lora_A.weight", np.zeros((4, 64), np.float32)),
        "lm_head",
    ),
    "a magnitude": (
        with_tensor(A.replace("lora_A", "lora_magnitude_vector"), np.zeros(64, np.float32)),
        "lora_magnitude_vector",
    ),
    "an embedding": (
        with_tensor("base_model.model.model.embed_tokens.lora_embedding_A", np.zeros((4, 9), np.float32)),
        "embed_tokens",
    ),
    "a module of nobody": (
        with_tensor(A.replace("q_proj", "w_proj"), np.zeros((4, 64), np.float32)),
        "w_proj",
    ),
    "a layer too many": (
        lambda given: {**given, **tensors(layers=(7,))},
        "the model has 3 layers",
    ),
    "maps that the model has not": (
        lambda _: {
            key(0, "q_proj", "A").replace("q_proj", "qkv_proj"): np.zeros((4, 64), np.float32),
            key(0, "q_proj", "B").replace("q_proj", "qkv_proj"): np.zeros((128, 4), np.float32),
        },
        "no such map",
    ),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_tensors_that_do_not_fit(llm: LLM, good: str, tmp_path: Path, name: str) -> None:
    damage, words = DAMAGED[name]
    settings = config(target_modules=None) if name == "maps that the model has not" else config()
    folder = write(tmp_path / "broken", settings, damage(tensors()))
    with pytest.raises(AdapterError) as refused:
        llm.adapters.load("broken", folder)
    assert words in str(refused.value)


def no_folder(folder: Path) -> Path:
    return folder / "nothing"


def a_file(folder: Path) -> Path:
    return folder / "adapter_config.json"


def no_config(folder: Path) -> Path:
    (folder / "adapter_config.json").unlink()
    return folder


def no_json(folder: Path) -> Path:
    (folder / "adapter_config.json").write_text("{", encoding="utf-8")
    return folder


def a_list(folder: Path) -> Path:
    (folder / "adapter_config.json").write_text("[]", encoding="utf-8")
    return folder


def deep(folder: Path) -> Path:
    (folder / "adapter_config.json").write_text("[" * 200_000, encoding="utf-8")
    return folder


def huge(folder: Path) -> Path:
    (folder / "adapter_config.json").write_text(json.dumps({"r": "4" * 2_000_000}), encoding="utf-8")
    return folder


def no_weights(folder: Path) -> Path:
    (folder / "adapter_model.safetensors").unlink()
    return folder


def a_pickle(folder: Path) -> Path:
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    return folder


def half_a_file(folder: Path) -> Path:
    whole = (folder / "adapter_model.safetensors").read_bytes()
    (folder / "adapter_model.safetensors").write_bytes(whole[: len(whole) // 2])
    return folder


def no_header(folder: Path) -> Path:
    (folder / "adapter_model.safetensors").write_bytes(b"\xff" * 100)
    return folder


def empty(folder: Path) -> Path:
    (folder / "adapter_model.safetensors").write_bytes(b"")
    return folder


def a_folder_of_weights(folder: Path) -> Path:
    (folder / "adapter_model.safetensors").unlink()
    (folder / "adapter_model.safetensors").mkdir()
    return folder


@pytest.mark.parametrize(
    "damage",
    [
        no_folder, a_file, no_config, no_json, a_list, deep, huge, no_weights, a_pickle, half_a_file,
        no_header, empty, a_folder_of_weights,
    ],
)  # fmt: skip
def test_files_that_are_broken(llm: LLM, good: str, tmp_path: Path, damage: Callable[[Path], Path]) -> None:
    source = damage(write(tmp_path / "broken", config(), tensors()))
    with pytest.raises(AdapterError) as refused:
        llm.adapters.load("broken", source)
    assert str(source if source.name == "nothing" else source.name).split("/")[-1] in str(refused.value)


def test_names_and_choices(llm: LLM, good: str, tmp_path: Path) -> None:
    folder = tmp_path / "good"
    for name in ("", "a b", "../x", "x" * 129, "-x"):
        with pytest.raises(ConfigError):
            llm.adapters.load(name, folder)
    with pytest.raises(AdapterError, match="loaded already"):
        llm.adapters.load("good", folder)
    for call in (llm.adapters.unload, llm.adapters.info, lambda name: llm.adapters.replace(name, folder)):
        with pytest.raises(NotFoundError, match="no adapter 'bad'"):
            call("bad")
    with pytest.raises(NotFoundError):
        llm.generate("hi", adapter="bad")
    for choice in ({"good": float("nan")}, {"good": True}, {str(n): 1.0 for n in range(9)}):
        with pytest.raises(RuvLLMError):
            llm.generate([1, 2], adapter=choice)
    with pytest.raises(ConfigError, match="2 adapters for 1 prompts"):
        llm.generate([[1, 2]], adapter=["good", None])


def test_compare_and_swap(llm: LLM, good: str, tmp_path: Path) -> None:
    other = write(tmp_path / "other", config(), tensors(seed=1))
    with pytest.raises(AdapterError, match="and not 123"):
        llm.adapters.replace("good", other, expected_generation="123")
    second = llm.adapters.replace("good", other, expected_generation=good)
    assert second.generation != good
    shutil.rmtree(tmp_path / "other")
    save_file(tensors(), tmp_path / "good" / "adapter_model.safetensors")
    assert llm.adapters.replace("good", tmp_path / "good").generation == good
