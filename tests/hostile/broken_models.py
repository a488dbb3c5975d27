"""Broken models, as data: what is wrong, how to make it in a folder, and what the error must say.

All are made from the reference models. A row whose file is not broken would not fail, and then its test does.
"""

import json
import os
import shutil
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.hostile.gguf_file import ARRAY, GgufFile, Tensor, text

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
GGUF = FIXTURES / "gguf" / "llama-gqa.gguf"
FOLDER = FIXTURES / "models" / "llama-gqa"
Q4_0, Q8_0, Q4_K, Q6_K, IQ2_XXS = 2, 8, 12, 14, 16
# Elements and bytes of a block, and where in it the 16-bit scale stands.
BLOCKS = {Q4_0: (32, 18, 0), Q8_0: (32, 34, 0), Q4_K: (256, 144, 0), Q6_K: (256, 210, 208)}
NAN, INFINITY = b"\x00\x7e", b"\x00\x7c"


@dataclass(frozen=True)
class Broken:
    """One broken model."""

    name: str
    words: tuple[str, ...]
    make: Callable[[Path], Path]


def _row(name: str, make: Callable[[Path], Path], *words: str) -> Broken:
    return Broken(name, words, make)


# -- one GGUF file


def _bytes(change: Callable[[bytes], bytes]) -> Callable[[Path], Path]:
    """The reference file with its bytes changed."""

    def make(folder: Path) -> Path:
        path = folder / "model.gguf"
        path.write_bytes(change(GGUF.read_bytes()))
        return path

    return make


def _gguf(change: Callable[[GgufFile], object]) -> Callable[[Path], Path]:
    """The reference file, taken apart, changed and put together."""

    def make(folder: Path) -> Path:
        file = GgufFile.read(GGUF)
        change(file)
        path = folder / "model.gguf"
        path.write_bytes(file.to_bytes())
        return path

    return make


def _set_shape(name: str, dimensions: list[int]) -> Callable[[Path], Path]:
    return _gguf(lambda file: setattr(file.tensor(name), "dimensions", dimensions))


def quantize(tensor: Tensor, kind: int) -> None:
    """Zeros in blocks of another type."""
    elements, block_bytes, _ = BLOCKS[kind]
    columns, rows = tensor.dimensions
    tensor.kind, tensor.data = kind, bytes(rows * columns // elements * block_bytes)


def widen(file: GgufFile, kind: int) -> None:
    """A model that is 256 wide, its matrices zeros of that type: whole super-blocks in each row."""
    sizes = {"embedding_length": 256, "feed_forward_length": 256}
    sizes |= {"attention.key_length": 64, "attention.value_length": 64, "rope.dimension_count": 64}
    for key, size in sizes.items():
        file.set_number(f"llama.{key}", size)
    for tensor in file.tensors:
        if len(tensor.dimensions) == 1:
            tensor.dimensions, tensor.data = [256], struct.pack("<256f", *[1.0] * 256)
            continue
        is_vocabulary = tensor.name in ("output.weight", "token_embd.weight")
        rows = 320 if is_vocabulary else 128 if "attn_k" in tensor.name or "attn_v" in tensor.name else 256
        tensor.dimensions = [256, rows]
        quantize(tensor, kind)


def _bad_scale(name: str, kind: int, scale: bytes) -> Callable[[Path], Path]:
    """Blocks of which one, in the midst, has a scale that is no number."""

    def change(file: GgufFile) -> None:
        if kind in (Q4_K, Q6_K):
            widen(file, kind)
        tensor = file.tensor(name)
        quantize(tensor, kind)
        _, block_bytes, at = BLOCKS[kind]
        data = bytearray(tensor.data)
        begin = len(data) // block_bytes // 2 * block_bytes + at
        data[begin : begin + 2] = scale
        tensor.data = bytes(data)

    return _gguf(change)


def _bad_float(name: str, index: int, value: float) -> Callable[[Path], Path]:
    def change(file: GgufFile) -> None:
        data = bytearray(file.tensor(name).data)
        struct.pack_into("<f", data, 4 * index, value)
        file.tensor(name).data = bytes(data)

    return _gguf(change)


def _iq2_xxs(file: GgufFile) -> None:
    widen(file, Q4_K)
    tensor = file.tensor("blk.1.ffn_up.weight")
    tensor.kind, tensor.data = IQ2_XXS, bytes(256 * 66)


def _sparse(folder: Path) -> Path:
    """A string of 64 GB in a file that takes no room."""
    path = folder / "model.gguf"
    key = text("key") + struct.pack("<IQ", 8, 1 << 36)
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + key)
    os.truncate(path, 1 << 37)
    return path


def _pipe(folder: Path) -> Path:
    os.mkfifo(folder / "model.gguf")
    return folder / "model.gguf"


# -- a folder of safetensors


def _folder(change: Callable[[Path], object]) -> Callable[[Path], Path]:
    """A copy of the reference folder, changed."""

    def make(folder: Path) -> Path:
        for name in ("config.json", "model.safetensors"):
            shutil.copyfile(FOLDER / name, folder / name)
        change(folder)
        return folder

    return make


def _replace(name: str, data: bytes) -> Callable[[Path], Path]:
    return _folder(lambda folder: (folder / name).write_bytes(data))


def _config(**changes: object) -> Callable[[Path], Path]:
    def change(folder: Path) -> None:
        config = json.loads((FOLDER / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | changes))

    return _folder(change)


def _header(change: Callable[[dict[str, dict[str, object]]], object]) -> Callable[[Path], Path]:
    """The reference file with its header changed; the data stay."""

    def edit(folder: Path) -> None:
        data = (FOLDER / "model.safetensors").read_bytes()
        (length,) = struct.unpack_from("<Q", data)
        header = json.loads(data[8 : 8 + length])
        change(header)
        written = json.dumps(header).encode()
        (folder / "model.safetensors").write_bytes(
            struct.pack("<Q", len(written)) + written + data[8 + length :]
        )

    return _folder(edit)


def _index(shard: str) -> Callable[[Path], Path]:
    index = {"weight_map": {"model.norm.weight": shard}}
    return _folder(lambda folder: (folder / "model.safetensors.index.json").write_text(json.dumps(index)))


def _too_many(file: GgufFile) -> None:
    file.tensors.append(Tensor("blk.1.surprise.weight", [8], 0, bytes(32)))


def _nested_arrays(file: GgufFile) -> None:
    file.values["nested"] = (ARRAY, struct.pack("<IQ", ARRAY, 1) * 1_000_000)


_NORM, _UP, _KEY = "model.norm.weight", "blk.1.ffn_up.weight", "blk.1.attn_k.weight"
_EMBEDDING = "token_embd.weight"

GGUF_FILES = [
    _row("empty", _bytes(lambda data: b""), "the file is empty"),
    _row("cut-in-metadata", _bytes(lambda data: data[:1000]), "metadata", "are left"),
    _row("cut-in-tensors", _bytes(lambda data: data[:-64]), "tensor", "lie outside the file"),
    _row("wrong-magic", _bytes(lambda data: b"PK\x03\x04" + data[4:]), "GGUF magic"),
    _row("version-1", _bytes(lambda data: data[:4] + b"\x01" + data[5:]), "versions 2 and 3"),
    _row("big-endian", _bytes(lambda data: data[:4] + b"\0\0\0\3" + data[8:]), "big-endian"),
    _row("2^64-tensors", _bytes(lambda data: data[:8] + b"\xff" * 8 + data[16:]), "tensor count"),
    _row("2^62-keys", _bytes(lambda data: data[:16] + b"\0" * 7 + b"\x40" + data[24:]), "metadata count"),
    _row("nested-arrays", _gguf(_nested_arrays), "'nested'", "nested deeper"),
    _row("sparse-string", _sparse, "'key'", "at most"),
    # Windows has no pipes with a name in a folder.
    *([_row("pipe", _pipe, "not a regular file")] if hasattr(os, "mkfifo") else []),
    _row("tensor-missing", _gguf(lambda file: file.tensors.remove(file.tensor(_UP))), _UP),
    _row("tensor-too-many", _gguf(_too_many), "blk.1.surprise.weight"),
    _row("tensor-twice", _gguf(lambda file: file.tensors.append(file.tensor(_UP))), _UP, "twice"),
    _row("tensor-past-end", _gguf(lambda file: setattr(file.tensor(_UP), "offset", 1 << 40)), _UP, "outside"),
    _row("more-rows-than-bytes", _set_shape("output_norm.weight", [1 << 40]), "output_norm", "outside"),
    _row("product-wraps", _set_shape(_UP, [1 << 32, 1 << 32]), _UP, "more bytes than can be addressed"),
    _row("zero-rows", _set_shape(_UP, [64, 0]), _UP, "is zero"),
    _row("wrong-shape", _set_shape(_KEY, [64, 16]), _KEY, "[16, 64]", "[32, 64]"),
    _row("transposed", _set_shape(_UP, [96, 64]), _UP, "[64, 96]", "[96, 64]"),
    _row("unknown-type", _gguf(lambda file: setattr(file.tensor(_UP), "kind", 99)), _UP, "99"),
    _row("iq2_xxs", _gguf(_iq2_xxs), _UP, "IQ2_XXS"),
    _row("integers", _gguf(lambda file: setattr(file.tensor(_UP), "kind", 26)), _UP, "I32"),
    _row("nan-scale-q4_0", _bad_scale(_UP, Q4_0, NAN), _UP, "not finite"),
    _row("inf-scale-q8_0", _bad_scale(_UP, Q8_0, INFINITY), _UP, "not finite"),
    _row("nan-scale-q4_k", _bad_scale(_UP, Q4_K, NAN), _UP, "not finite"),
    _row("nan-scale-q6_k", _bad_scale(_UP, Q6_K, NAN), _UP, "not finite"),
    _row("nan-scale-embedding", _bad_scale(_EMBEDDING, Q8_0, NAN), _EMBEDDING, "not finite"),
    _row("nan-weight", _bad_float(_UP, 77, float("nan")), _UP, "not finite"),
    _row("inf-norm", _bad_float("output_norm.weight", 63, float("inf")), "output_norm.weight", "not finite"),
    _row("unknown-architecture", _gguf(lambda file: file.set_text("general.architecture", "newton")),
         "newton", "llama"),
    _row("no-architecture", _gguf(lambda file: file.values.pop("general.architecture")),
         "general.architecture"),
    _row("no-heads", _gguf(lambda file: file.set_number("llama.attention.head_count", 0)), "head_count"),
    _row("no-kv-heads", _gguf(lambda file: file.set_number("llama.attention.head_count_kv", 0)),
         "head_count_kv"),
    _row("kv-heads-no-divisor", _gguf(lambda file: file.set_number("llama.attention.head_count_kv", 3)),
         "head_count_kv", "divide"),
    _row("2^32-layers", _gguf(lambda file: file.set_number("llama.block_count", 2**32 - 1)), "block_count"),
    _row("nan-rope", _gguf(lambda file: file.set_float("llama.rope.freq_base", float("nan"))), "freq_base"),
    _row("split-alone", _gguf(lambda file: file.set_number("split.count", 3)), "split of 3 files"),
]  # fmt: skip

SAFETENSORS_FOLDERS = [
    _row("st-cut", _folder(lambda folder: os.truncate(folder / "model.safetensors", 9000)), "outside"),
    _row("st-header-2^63", _replace("model.safetensors", b"\0" * 7 + b"\x80"), "9223372036854775808"),
    _row("st-offsets-reversed", _header(lambda header: header[_NORM].update(data_offsets=[256, 0])), _NORM),
    _row("st-shape-lies", _header(lambda header: header[_NORM].update(shape=[1 << 60])), _NORM),
    _row("st-unknown-dtype", _header(lambda header: header[_NORM].update(dtype="F4")), _NORM, "'F4'"),
    _row("st-integers", _header(lambda header: header[_NORM].update(dtype="I32")), _NORM, "I32"),
    _row("st-tensor-missing", _header(lambda header: header.pop(_NORM)), "describes"),
    _row("st-config-list", _replace("config.json", b"[]"), "not a JSON object"),
    _row("st-config-deep", _replace("config.json", b'{"a":' + b"[" * 10**6), "recursion limit"),
    _row("st-config-wide", _replace("config.json", b'{"a":[' + b"1," * 10**6), "too many values"),
    _row("st-unknown-model", _config(model_type="newton", architectures=["Newton"]), "newton"),
    _row("st-wrong-width", _config(hidden_size=63), "63"),
    _row("st-2^31-layers", _config(num_hidden_layers=2**31), "num_hidden_layers"),
    _row("st-no-kv-heads", _config(num_key_value_heads=0), "num_key_value_heads"),
    _row("st-shard-missing", _index("model-1.safetensors"), "model-1.safetensors"),
    _row("st-shard-elsewhere", _index("../model.safetensors"), "no plain .safetensors name"),
]  # fmt: skip
