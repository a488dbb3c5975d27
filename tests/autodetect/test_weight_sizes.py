"""What weights take in memory, beside quantized and loaded ones."""

from pathlib import Path

import pytest

import ruvllm
import ruvllm._native as _native
from ruvllm.autodetect.weight_sizes import MIXTURES, StoredTensor, mixture_bytes, packed_bytes
from ruvllm.errors import ModelError


def stored(path: Path) -> list[StoredTensor]:
    return [StoredTensor(*one) for one in _native.ModelHeader.read(path, "auto").tensors()]


@pytest.mark.real_model
@pytest.mark.parametrize("name", list(MIXTURES))
def test_a_mixture_takes_what_was_foretold(smollm2_path: Path, tmp_path: Path, name: str) -> None:
    made = ruvllm.quantize(smollm2_path, tmp_path / "made.gguf", name)
    foretold = mixture_bytes(name, stored(smollm2_path))
    weight_bytes, _ = _native.Model.load(str(made.path), threads=2).weight_bytes
    assert foretold == pytest.approx(weight_bytes, rel=0.01)
    assert packed_bytes(stored(made.path)) == pytest.approx(weight_bytes, rel=0.001)


def tensors_of(hidden: int, head: str) -> list[StoredTensor]:
    layers = [
        StoredTensor(f"blk.{layer}.{name}.weight", "F16", shape)
        for layer in range(16)
        for name, shape in {
            "attn_norm": (hidden,),
            "attn_q": (hidden, hidden),
            "attn_v": (hidden // 4, hidden),
            "attn_output": (hidden, hidden),
            "ffn_up": (4 * hidden, hidden),
            "ffn_down": (hidden, 4 * hidden),
        }.items()
    ]
    return [StoredTensor(head, "F16", (32_000, hidden)), *layers]


def test_more_bits_take_more_and_names_of_both_layouts_count() -> None:
    tensors = tensors_of(2048, "token_embd.weight")
    sizes = [mixture_bytes(name, tensors) for name in ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q4_0")]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] < packed_bytes(tensors)
    # A head by itself: the embedding is a matrix like others, of fewer bits.
    apart = [*tensors, StoredTensor("output.weight", "F16", (1, 2048))]
    assert mixture_bytes("Q4_0", apart) < mixture_bytes("Q4_0", tensors)
    named = {"token_embd": "model.embed_tokens", "attn_v": "self_attn.v_proj", "ffn_down": "mlp.down_proj"}
    other = []
    for tensor in tensors:
        name = tensor.name
        for ours, theirs in named.items():
            name = name.replace(ours, theirs)
        other.append(StoredTensor(name, "BF16", tensor.shape))
    assert mixture_bytes("Q4_K_M", other) == mixture_bytes("Q4_K_M", tensors)


def test_rows_that_are_no_whole_blocks_get_longer_types() -> None:
    """576 columns are no blocks of 256, and 100 none of 32: five bits and sixteen for four."""

    def bits(columns: int) -> float:
        tensor = StoredTensor("blk.0.ffn_up.weight", "F16", (1024, columns))
        return 8 * mixture_bytes("Q4_K_M", [tensor]) / tensor.num_weights

    assert bits(512) < 4.7 < 5.4 < bits(576) < 5.6 < 16 <= bits(100)


def test_a_type_that_nobody_packs() -> None:
    with pytest.raises(ModelError, match="a tensor has the type I64; known are F32"):
        packed_bytes([StoredTensor("x", "I64", (2, 2))])
