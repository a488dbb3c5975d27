"""Importance matrices: measured against NumPy, written for others, and of use to the quantizer."""

import json
import struct
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import safetensors.numpy

import ruvllm
from ruvllm import LLM, EvaluationParams, ImportanceMatrix
from ruvllm.errors import ConfigError, IoError
from tests.conftest import FIXTURES

FOLDER = FIXTURES / "models" / "llama-gqa"
GGUF = FIXTURES / "gguf" / "llama-gqa.gguf"
IDS = [int(token) for token in np.random.default_rng(6).integers(3, 320, 80)]
CHUNK = 40


class PlainLlama:
    """The forward pass of the folder in NumPy, in 64 bits, which notes what goes into each matrix."""

    def __init__(self) -> None:
        tensors = safetensors.numpy.load_file(FOLDER / "model.safetensors")
        self.weights = {name: tensor.astype(np.float64) for name, tensor in tensors.items()}
        self.config: dict[str, Any] = json.loads((FOLDER / "config.json").read_text())
        self.sums: dict[str, np.ndarray] = {}

    def norm(self, x: np.ndarray, name: str) -> np.ndarray:
        scale = np.sqrt((x**2).mean(axis=1, keepdims=True) + self.config["rms_norm_eps"])
        return x / scale * self.weights[f"{name}.weight"]

    def linear(self, x: np.ndarray, name: str, noted: str) -> np.ndarray:
        self.sums[noted] = self.sums.get(noted, 0.0) + (x**2).sum(axis=0)
        return x @ self.weights[f"{name}.weight"].T

    def rotated(self, x: np.ndarray) -> np.ndarray:
        """Of `[tokens, heads, head_dim]`."""
        half = x.shape[2] // 2
        angles = np.outer(np.arange(len(x)), 10_000.0 ** (-np.arange(half) / half))[:, None]
        first, second = x[..., :half], x[..., half:]
        cosine, sine = np.cos(angles), np.sin(angles)
        return np.concatenate([first * cosine - second * sine, second * cosine + first * sine], axis=2)

    def attention(self, x: np.ndarray, layer: str, new: str) -> np.ndarray:
        heads, shared, width = 4, 2, 16
        parts = [
            self.linear(x, f"{layer}.self_attn.{name}_proj", f"{new}.attn_{name}.weight").reshape(
                len(x), -1, width
            )
            for name in "qkv"
        ]
        queries, keys, values = self.rotated(parts[0]), self.rotated(parts[1]), parts[2]
        attended = np.empty((len(x), heads, width))
        for head in range(heads):
            of = head // (heads // shared)
            scores = queries[:, head] @ keys[:, of].T / np.sqrt(width)
            scores[np.triu_indices(len(x), 1)] = -np.inf
            weights = np.exp(scores - scores.max(axis=1, keepdims=True))
            attended[:, head] = weights / weights.sum(axis=1, keepdims=True) @ values[:, of]
        flat = attended.reshape(len(x), -1)
        return self.linear(flat, f"{layer}.self_attn.o_proj", f"{new}.attn_output.weight")

    def run(self, ids: list[int]) -> None:
        x = self.weights["model.embed_tokens.weight"][ids]
        for index in range(self.config["num_hidden_layers"]):
            layer, new = f"model.layers.{index}", f"blk.{index}"
            x = x + self.attention(self.norm(x, f"{layer}.input_layernorm"), layer, new)
            normed = self.norm(x, f"{layer}.post_attention_layernorm")
            gate = self.linear(normed, f"{layer}.mlp.gate_proj", f"{new}.ffn_gate.weight")
            up = self.linear(normed, f"{layer}.mlp.up_proj", f"{new}.ffn_up.weight")
            x = x + self.linear(
                gate / (1 + np.exp(-gate)) * up, f"{layer}.mlp.down_proj", f"{new}.ffn_down.weight"
            )


def measured() -> ImportanceMatrix:
    params = EvaluationParams(context=CHUNK)
    heard: list[tuple[int, int]] = []
    found = ruvllm.measure_importance(
        FOLDER, IDS, name="numbers", params=params, activations="f32", progress=lambda *at: heard.append(at)
    )
    assert heard[-1] == (len(IDS), len(IDS))
    return found


def test_sums_are_those_of_numpy() -> None:
    plain = PlainLlama()
    for begin in range(0, len(IDS), CHUNK):
        plain.run(IDS[begin : begin + CHUNK])
    found = measured()
    assert found.sums.keys() == plain.sums.keys()
    for name, sums in plain.sums.items():
        np.testing.assert_allclose(found.sums[name], sums, rtol=1e-4, err_msg=name)
    assert set(found.counts.values()) == {len(IDS)}


def test_eight_bits_and_a_file_give_nearly_the_same(tmp_path: Path) -> None:
    exact = measured()
    half = ruvllm.quantize(FOLDER, tmp_path / "half.gguf", "Q8_0").path
    with LLM(half) as llm:
        rounded = ruvllm.measure_importance(llm, IDS, params=EvaluationParams(context=CHUNK))
        # The model goes on as before.
        assert len(llm.score(IDS)) == len(IDS) - 1
    for name, sums in exact.sums.items():
        np.testing.assert_allclose(rounded.sums[name].sum(), sums.sum(), rtol=0.05, err_msg=name)


def test_a_file_is_what_llama_cpp_writes(tmp_path: Path) -> None:
    found, path = measured(), tmp_path / "imatrix.gguf"
    found.save(path)
    reader = gguf.GGUFReader(path)
    said = {key: field.contents() for key, field in reader.fields.items() if not key.startswith("GGUF.")}
    assert said == {
        "general.type": "imatrix",
        "imatrix.datasets": ["numbers"],
        "imatrix.chunk_count": 2,
        "imatrix.chunk_size": CHUNK,
    }
    types = {key: reader.fields[key].types for key in said}
    assert types["imatrix.chunk_count"] == types["imatrix.chunk_size"] == [gguf.GGUFValueType.UINT32]
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    assert len(tensors) == 2 * len(found.sums)
    for name, sums in found.sums.items():
        assert tensors[f"{name}.in_sum2"].shape.tolist() == [sums.size, 1]
        np.testing.assert_array_equal(tensors[f"{name}.in_sum2"].data.ravel(), sums)
        assert tensors[f"{name}.counts"].data.ravel().tolist() == [len(IDS)]
    again = ImportanceMatrix.load(path)
    assert (again.chunk_count, again.chunk_size) == (2, CHUNK)
    for name, weights in again.weights().items():
        np.testing.assert_array_equal(weights, found.weights()[name])
        assert weights.mean() == pytest.approx(1, rel=1e-5)


def older(entries: dict[str, tuple[int, list[float]]], end: bytes = b"") -> bytes:
    """The form that llama.cpp wrote before."""
    data = struct.pack("<i", len(entries))
    for name, (calls, values) in entries.items():
        data += struct.pack("<i", len(name)) + name.encode() + struct.pack("<ii", calls, len(values))
        data += struct.pack(f"<{len(values)}f", *values)
    return data + end


def test_the_older_form_is_read(tmp_path: Path) -> None:
    path = tmp_path / "imatrix.dat"
    path.write_bytes(older({"blk.0.ffn_up.weight": (4, [4.0, 8.0])}, struct.pack("<ii", 7, 4) + b"text"))
    found = ImportanceMatrix.load(path)
    assert found.weights()["blk.0.ffn_up.weight"].tolist() == pytest.approx([2 / 3, 4 / 3])
    assert (found.chunk_count, found.datasets) == (7, ("text",))
    path.write_bytes(older({"a": (1, [1.0])}))
    assert ImportanceMatrix.load(path).chunk_count == 0


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x01\x00",
        struct.pack("<i", -1),
        struct.pack("<i", 0),
        struct.pack("<ii", 1, 2**30),
        older({"a": (1, [1.0, 2.0])})[:-1],
        older({"a": (1, [])})[:-4] + struct.pack("<i", 2**30),
        older({"a": (1, [1.0])}, b"\xff" * 6),
    ],
)
def test_what_is_none_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "broken.dat"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match="no importance matrix"):
        ImportanceMatrix.load(path)


@pytest.mark.parametrize("count", [float("nan"), float("inf"), -1.0])
def test_a_count_that_is_none_is_refused(tmp_path: Path, count: float) -> None:
    found, path = measured(), tmp_path / "imatrix.gguf"
    counts = dict.fromkeys(found.counts, count)
    ImportanceMatrix(sums=found.sums, counts=counts).save(path)
    with pytest.raises(ConfigError, match="the count of"):
        ImportanceMatrix.load(path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no importance matrix"):
        ImportanceMatrix.load(GGUF)
    with pytest.raises(IoError, match=r"none\.gguf"):
        ImportanceMatrix.load(tmp_path / "none.gguf")
    name = "blk.0.attn_q.weight"
    other = "blk.7.attn_q.weight"
    of_other = ImportanceMatrix(sums={other: np.ones(64, np.float32)}, counts={other: 1})
    with pytest.raises(ConfigError, match="of another model"):
        ruvllm.quantize(GGUF, tmp_path / "made.gguf", importance=of_other)
    narrow = ImportanceMatrix(sums={name: np.ones(32, np.float32)}, counts={name: 1})
    with pytest.raises(ConfigError, match="64 finite numbers"):
        ruvllm.quantize(GGUF, tmp_path / "made.gguf", importance=narrow)
    assert not list(tmp_path.iterdir())
    for broken in (np.nan, np.inf, -1.0):
        wrong = ImportanceMatrix(sums={name: np.full(64, broken, np.float32)}, counts={name: 1})
        with pytest.raises(ConfigError, match=f"'{name}' has a number that is no sum of squares"):
            wrong.weights()
    # Nothing went into it: nothing is known.
    empty = ImportanceMatrix(sums={name: np.zeros(64, np.float32)}, counts={name: 0})
    assert empty.weights() == {}


def test_the_quantizer_weighs_errors_by_it(tmp_path: Path) -> None:
    found, path = measured(), tmp_path / "imatrix.gguf"
    found.save(path)
    plain, weighed = (
        ruvllm.quantize(GGUF, tmp_path / f"{number}.gguf", "Q4_0", importance=importance).path
        for number, importance in enumerate([None, path])
    )
    said = {key: field.contents() for key, field in gguf.GGUFReader(weighed).fields.items()}
    assert said["quantize.imatrix.file"] == "imatrix.gguf"
    assert said["quantize.imatrix.chunks_count"] == 2
    assert said["quantize.imatrix.entries_count"] == len(found.sums)
    original = {tensor.name: tensor for tensor in gguf.GGUFReader(GGUF).tensors}
    names = [name for name in original if name in found.sums]
    assert names
    for name in names:
        errors = []
        for made in (plain, weighed):
            [tensor] = [tensor for tensor in gguf.GGUFReader(made).tensors if tensor.name == name]
            values = gguf.dequantize(tensor.data, tensor.tensor_type)
            errors.append((((values - original[name].data) ** 2).sum(axis=0) * found.sums[name]).sum())
        assert errors[1] < 0.95 * errors[0], name
