"""Keys of few bits in models whose keys have a bias: what that makes of a key is kept apart."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from ruvllm import LLM, GenerateParams
from tests.conftest import FIXTURES

SOURCE = FIXTURES / "models" / "qwen2-bias-tied"
GREEDY = GenerateParams(max_tokens=24, temperature=0.0, repetition_penalty=1.0, ignore_eos=True)
IDS = [(7 * index) % 300 + 3 for index in range(300)]
# Of 16 dimensions in halves, those of the pairs that turn slowest: as in real models, where they are up to
# fifty times as large as what tokens make of a key.
LARGE = [6, 7, 14, 15]


@pytest.fixture(scope="module")
def biased(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The fixture with a large bias on the keys of every layer."""
    folder = tmp_path_factory.mktemp("biased")
    shutil.copytree(SOURCE, folder, dirs_exist_ok=True)
    tensors = load_file(SOURCE / "model.safetensors")
    for name, bias in tensors.items():
        if name.endswith("k_proj.bias"):
            bias.reshape(-1, 16)[:, LARGE] = [50.0, -80.0, 60.0, 90.0]
    save_file(tensors, folder / "model.safetensors")
    return folder


def off(path: Path, kv_format: str, tail: int | None = None) -> float:
    """How far the logits are from those of a cache in f32, of their largest."""
    logits = []
    for one, length in (("f32", None), (kv_format, tail)):
        with LLM(path, activations="f32", kv_format=one, kv_tail=length) as llm:
            logits.append(llm.logits(IDS))
    return float(np.abs(logits[1] - logits[0]).max() / np.abs(logits[0]).max())


@pytest.mark.parametrize(
    ("kv_format", "tail"), [("int8", None), ("k8v4", None), ("q4", 0), ("q4", 64), ("q3", 64)]
)
def test_a_large_bias_costs_no_more_than_a_small_one(biased: Path, kv_format: str, tail: int | None) -> None:
    usual, large = off(SOURCE, kv_format, tail), off(biased, kv_format, tail)
    assert 0 < large < 2 * usual


@pytest.mark.parametrize("kv_format", ["int8", "q4"])
def test_what_is_cached_in_parts_or_in_company_is_the_same(biased: Path, kv_format: str) -> None:
    prompts = [IDS[:200], IDS[:120] + IDS[5:50], IDS[:121]]
    with LLM(biased, kv_format=kv_format) as llm:
        alone = [llm.generate(prompt, GREEDY).token_ids for prompt in prompts]
        llm.prefix_cache.clear()
        together = llm.generate(prompts, GREEDY)
        found = [llm.generate(prompt, GREEDY) for prompt in prompts]
    assert [one.token_ids for one in together] == alone
    assert [one.token_ids for one in found] == alone
    assert all(one.usage.cached_tokens for one in found)
