"""Adapters as GGUF files: the logits that the same matrices give as a folder, over every kind of base."""

from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest

from ruvllm import LLM
from ruvllm.adapters import AdapterWeights, merge, read_adapter, read_peft
from ruvllm.errors import AdapterError
from tests.adapters.gguf_files import KEYS, as_in_gguf, from_folder, write
from tests.adapters.peft_files import Tensors, config, tensors
from tests.adapters.peft_files import write as write_folder
from tests.conftest import FIXTURES

ADAPTERS = FIXTURES / "adapters"
FOLDER, FILE = FIXTURES / "models" / "llama-gqa", FIXTURES / "gguf" / "llama-gqa.gguf"
# What `alpha` is where the scale is that of the folder: rank-stabilized ones have another.
ALPHAS = {"lora-all-r4": 8.0, "lora-rs-r8": 16.0 * 8**0.5}
ALL = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
IDS = np.load(FOLDER / "expected.npz")["input_ids"]


def logits(base: Path, *sources: Path | AdapterWeights) -> list[np.ndarray]:
    """The model's, and those with each adapter."""
    with LLM(base, activations="f32", kv_format="f32", threads=1) as llm:
        for number, source in enumerate(sources):
            llm.adapters.load(str(number), source)
        return [llm.logits(IDS), *(llm.logits(IDS, adapter=str(number)) for number in range(len(sources)))]


@pytest.mark.parametrize("base", [FOLDER, FILE], ids=["over a folder", "over a GGUF file"])
@pytest.mark.parametrize("name", ALPHAS)
def test_a_file_gives_what_the_folder_gives(tmp_path: Path, base: Path, name: str) -> None:
    folder = ADAPTERS / name / "adapter"
    file = write(tmp_path / "x.gguf", from_folder(folder), KEYS | {"adapter.lora.alpha": ALPHAS[name]})
    none, by_folder, by_file = logits(base, folder, file)
    assert np.abs(by_file - by_folder).max() < 1e-6
    # And what peft itself computed with it.
    assert np.abs(by_file - np.load(ADAPTERS / name / "expected.npz")["lora_logits"]).max() < 1e-3
    assert np.abs(by_folder - none).max() > 1


@pytest.mark.parametrize("kind", ["F16", "BF16", "Q8_0", "Q4_0"])
def test_numbers_of_every_kind_that_is_written(tmp_path: Path, kind: str) -> None:
    """The same as the folder whose numbers were rounded so, by another decoder."""
    wanted = gguf.GGMLQuantizationType[kind]
    given = tensors(ALL)

    def rounded(tensor: np.ndarray) -> np.ndarray:
        if tensor.shape[-1] % gguf.GGML_QUANT_SIZES[wanted][0]:
            return tensor
        blocks = gguf.quants.quantize(tensor, wanted)
        return gguf.quants.dequantize(blocks, wanted).reshape(tensor.shape).astype(np.float32)

    assert any(not np.array_equal(rounded(tensor), tensor) for tensor in given.values())
    folder = write_folder(
        tmp_path / "folder",
        config(target_modules=list(ALL)),
        {key: rounded(tensor) for key, tensor in given.items()},
    )
    file = write(tmp_path / "x.GGUF", as_in_gguf(given), kind=kind)
    none, by_folder, by_file = logits(FILE, folder, file)
    assert np.abs(by_file - by_folder).max() < 1e-6
    assert np.abs(by_folder - none).max() > 0.1


def fused(seed: int = 3) -> Tensors:
    """Both matrices of the maps that Phi-3 has in one."""
    numbers = np.random.default_rng(seed)
    shapes = {"self_attn.qkv_proj": (64, 128), "mlp.gate_up_proj": (64, 192), "mlp.down_proj": (96, 64)}
    return {
        f"base_model.model.model.layers.{layer}.{map_}.lora_{half}.weight": 0.1
        * numbers.standard_normal((4, inputs) if half == "A" else (outputs, 4), dtype=np.float32)
        for layer in range(3)
        for map_, (inputs, outputs) in shapes.items()
        for half in "AB"
    }


@pytest.mark.parametrize(
    ("base", "architecture", "is_turned"),
    [
        (FIXTURES / "models" / "mistral-window", "llama", True),
        (FIXTURES / "models" / "qwen2-bias-tied", "qwen2", False),
        (FIXTURES / "gguf" / "qwen2-bias-tied.gguf", "qwen2", False),
        (FIXTURES / "models" / "phi3-fused", "phi3", False),
    ],
    ids=["Mistral is a Llama", "Qwen2", "Qwen2 as GGUF", "Phi-3"],
)
def test_every_family_has_its_names_and_its_order(
    tmp_path: Path, base: Path, architecture: str, is_turned: bool
) -> None:
    given = fused() if architecture == "phi3" else tensors(ALL)
    folder = write_folder(tmp_path / "folder", config(target_modules=None), given)
    keys = KEYS | {"general.architecture": architecture}
    file = write(tmp_path / "x.gguf", as_in_gguf(given, is_turned=is_turned), keys)
    none, by_folder, by_file = logits(base, folder, file)
    assert np.abs(by_file - by_folder).max() < 1e-6
    assert np.abs(by_folder - none).max() > 0.1


@pytest.mark.parametrize("alpha", [None, 0.0], ids=["without an alpha", "of alpha 0"])
def test_an_alpha_that_is_none_scales_nothing(tmp_path: Path, alpha: float | None) -> None:
    keys = {key: value for key, value in KEYS.items() if key != "adapter.lora.alpha"}
    if alpha is not None:
        keys["adapter.lora.alpha"] = alpha
    read = read_adapter(write(tmp_path / "x.gguf", as_in_gguf(tensors()), keys))
    assert {part.scale for part in read.parts} == {1.0}


def test_each_map_has_the_scale_of_its_rank(tmp_path: Path) -> None:
    given = tensors(("q_proj",), rank=2) | tensors(("v_proj",), rank=16)
    read = read_adapter(write(tmp_path / "x.gguf", as_in_gguf(given)))
    assert {(part.module, part.rank, part.scale) for part in read.parts} == {
        ("q_proj", 2, 4.0),
        ("v_proj", 16, 0.5),
    }
    assert (read.source, read.architecture) == (tmp_path / "x.gguf", "llama")


def test_a_name_stands_for_what_was_read(tmp_path: Path) -> None:
    path = write(tmp_path / "x.gguf", as_in_gguf(tensors()), KEYS | {"general.base_model.0.name": "Tiny"})
    with LLM(FILE, threads=1) as llm:
        first = llm.adapters.load("x", path)
        assert (first.source, first.base_model, first.modules) == (path, "Tiny", ("q_proj", "v_proj"))
        llm.adapters.merge("twice", {"x": 2.0}, "task_arithmetic")
        twice, double = llm.logits(IDS, adapter="twice"), llm.logits(IDS, adapter={"x": 2.0})
        assert np.abs(twice - double).max() < 1e-3 * np.abs(double).max()
        # What merging reads is the file, which has another content by now.
        write(path, as_in_gguf(tensors(seed=1)))
        with pytest.raises(AdapterError, match="is not any more what was loaded"):
            llm.adapters.merge("thrice", {"x": 3.0}, "task_arithmetic")
        assert llm.adapters.replace("x", path).generation != first.generation
        # PEFT has the rows in another order.
        with pytest.raises(AdapterError, match="PEFT has another order"):
            llm.adapters.export("x", tmp_path / "out")


def test_what_is_merged_is_of_one_kind(tmp_path: Path) -> None:
    """Their rows stand in different orders, or mean different things."""
    file = read_adapter(write(tmp_path / "x.gguf", as_in_gguf(tensors())))
    folder = read_peft(write_folder(tmp_path / "folder", config(), tensors()))
    with pytest.raises(AdapterError, match="rows in several orders"):
        merge([(file, 1.0), (folder, 1.0)])
    with pytest.raises(AdapterError, match="several architectures: llama, qwen2"):
        merge([(file, 1.0), (replace(file, architecture="qwen2"), 1.0)])
    assert merge([(file, 1.0), (file, 1.0)]).architecture == "llama"
