"""`ruvllm.quantize` of folders: what llama.cpp's converter made of them, and the folder's own logits."""

import json
import shutil
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import safetensors.numpy

import ruvllm
from ruvllm import LLM
from ruvllm.errors import ConfigError, ModelError, TokenizationError
from tests.conftest import FIXTURES

MODELS = FIXTURES / "models"
IDS = [int(token) for token in np.random.default_rng(4).integers(3, 320, 48)]
# Families that GGUF has a word for; of the others what it lacks.
SAID = ["llama-gqa", "llama3-rope-tied", "qwen2-bias-tied", "qwen3-qknorm", "phi3-fused", "phi3-longrope"]
SAID += ["gemma3-dual-rope", "mistral-window"]
WINDOWS = ["full_attention", *["sliding_attention"] * 6]
UNSAID = {
    "scale of attention": ("gemma2-softcap", {}),
    "layers": ("gemma3-dual-rope", {"layer_types": WINDOWS}),
    "rotary embedding": (
        "qwen3-qknorm",
        {"rope_parameters": {"rope_theta": 1e6, "rope_type": "dynamic", "factor": 2.0}},
    ),
}


def copied(name: str, target: Path, **changed: object) -> Path:
    """A model's folder with other settings."""
    shutil.copytree(MODELS / name, target)
    config = json.loads((target / "config.json").read_text())
    (target / "config.json").write_text(json.dumps(config | changed))
    return target


def logits(path: Path) -> np.ndarray:
    with LLM(path, activations="f32", kv_format="f32") as llm:
        return llm.logits(IDS)


def check_same_logits(folder: Path, made: Path) -> None:
    np.testing.assert_allclose(logits(made), logits(folder), atol=2e-5)


@pytest.mark.parametrize("name", SAID)
def test_the_file_answers_as_the_folder(tmp_path: Path, name: str) -> None:
    made = ruvllm.quantize(MODELS / name, tmp_path / "made.gguf", "F32")
    check_same_logits(MODELS / name, made.path)
    # Half of the bits, and nearly the same.
    half = ruvllm.quantize(MODELS / name, tmp_path / "half.gguf", "F16")
    np.testing.assert_allclose(logits(half.path), logits(MODELS / name), atol=5e-3)
    blocks = ruvllm.quantize(MODELS / name, tmp_path / "blocks.gguf", "Q8_0")
    again = ruvllm.quantize(made.path, tmp_path / "again.gguf", "Q8_0")
    before, after = (gguf.GGUFReader(one.path).tensors for one in (blocks, again))
    assert [tensor.name for tensor in before] == [tensor.name for tensor in after]
    for first, second in zip(before, after, strict=True):
        np.testing.assert_array_equal(first.data, second.data, first.name)


@pytest.mark.parametrize("name", [name for name in SAID if (FIXTURES / "gguf" / f"{name}.gguf").exists()])
def test_tensors_are_those_of_llama_cpps_converter(tmp_path: Path, name: str) -> None:
    made = ruvllm.quantize(MODELS / name, tmp_path / "made.gguf", "F32")
    ours, theirs = (
        {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}
        for path in (made.path, FIXTURES / "gguf" / f"{name}.gguf")
    )
    assert ours.keys() == theirs.keys()
    for key, tensor in theirs.items():
        assert list(ours[key].shape) == list(tensor.shape), key
        # What Llama 3 divides by is computed once more.
        np.testing.assert_allclose(ours[key].data, tensor.data, rtol=1e-6, err_msg=key)


def test_what_the_file_says(tmp_path: Path) -> None:
    for name in SAID:
        theirs_path = FIXTURES / "gguf" / f"{name}.gguf"
        if not theirs_path.exists():
            continue
        made = ruvllm.quantize(MODELS / name, tmp_path / f"{name}.gguf", "F32")
        ours, theirs = (metadata(path) for path in (made.path, theirs_path))
        architecture = ours["general.architecture"]
        for key, value in theirs.items():
            if key.startswith(f"{architecture}.") and key in ours:
                assert ours[key] == pytest.approx(value, rel=1e-6), key
        assert ours["general.file_type"] == gguf.LlamaFileType.ALL_F32
        assert ours["general.name"] == name


@pytest.mark.parametrize("what", sorted(UNSAID))
def test_what_gguf_has_no_word_for_is_refused(tmp_path: Path, what: str) -> None:
    name, changed = UNSAID[what]
    folder = copied(name, tmp_path / "folder", **changed)
    with pytest.raises(ModelError, match=f"the {what}.* cannot be said in a GGUF file"):
        ruvllm.quantize(folder, tmp_path / "made.gguf", "F16")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_the_same_families_where_it_has(tmp_path: Path) -> None:
    gemma = copied("gemma2-softcap", tmp_path / "gemma", query_pre_attn_scalar=16)
    check_same_logits(gemma, ruvllm.quantize(gemma, tmp_path / "gemma.gguf", "F32").path)


def test_an_unknown_family_is_refused_by_name(tmp_path: Path) -> None:
    folder = copied("llama-gqa", tmp_path / "folder", model_type="mamba", architectures=["MambaForCausalLM"])
    with pytest.raises(ModelError, match="mamba"):
        ruvllm.quantize(folder, tmp_path / "made.gguf")


def test_a_broken_tensor_is_refused_by_name(tmp_path: Path) -> None:
    folder = copied("llama-gqa", tmp_path / "folder")
    tensors = safetensors.numpy.load_file(folder / "model.safetensors")
    name = "model.layers.1.self_attn.q_proj.weight"
    tensors[name][5, 7] = np.nan
    safetensors.numpy.save_file(tensors, folder / "model.safetensors")
    with pytest.raises(ModelError, match=f"{name}.*not finite"):
        ruvllm.quantize(folder, tmp_path / "made.gguf", "Q8_0")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize(
    "name",
    [
        "model.embed_tokens.weight",
        "model.layers.0.self_attn.q_proj.bias",
        "model.layers.1.self_attn.v_proj.weight",
        "model.layers.1.mlp.down_proj.weight",
        "model.layers.0.input_layernorm.weight",
        "model.norm.weight",
    ],
)
def test_a_shape_that_is_not_the_configurations_is_refused_by_name(tmp_path: Path, name: str) -> None:
    folder = copied("qwen2-bias-tied", tmp_path / "folder")
    tensors = safetensors.numpy.load_file(folder / "model.safetensors")
    tensors[name] = np.ascontiguousarray(tensors[name][:-1])
    safetensors.numpy.save_file(tensors, folder / "model.safetensors")
    with pytest.raises(ModelError, match=f"{name}.*shape"):
        ruvllm.quantize(folder, tmp_path / "made.gguf", "Q8_0")


def test_a_file_of_the_folder_is_not_overwritten(tmp_path: Path) -> None:
    folder = copied("llama-gqa", tmp_path / "folder")
    with pytest.raises(ConfigError, match="a file of the model itself"):
        ruvllm.quantize(folder, folder / "model.safetensors", overwrite=True)


# -- the tokenizer


def metadata(path: Path) -> dict[str, Any]:
    """What a GGUF file says beside its tensors, by the package `gguf`: seconds for a large vocabulary."""
    return {key: field.contents() for key, field in gguf.GGUFReader(path).fields.items()}


def byte_level(fields: dict[str, Any]) -> dict[str, object]:
    """The vocabulary of a GGUF file as the `tokenizer.json` that it was made of."""
    tokens, types = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"]
    added = [
        {"id": index, "content": tokens[index], "special": kind == 3, "normalized": False, "lstrip": False,
         "rstrip": False, "single_word": False}
        for index, kind in enumerate(types)
        if kind in (3, 4)
    ]  # fmt: skip
    return {
        "version": "1.0",
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Digits", "individual_digits": True},
                {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
            ],
        },
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE",
            "vocab": {token: index for index, token in enumerate(tokens)},
            "merges": [pair.split(" ") for pair in fields["tokenizer.ggml.merges"]],
            "byte_fallback": False,
            "ignore_merges": False,
        },
    }


def with_tokenizer(folder: Path, source: dict[str, object], config: dict[str, object]) -> Path:
    (folder / "tokenizer.json").write_text(json.dumps(source))
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


AWKWARD = [
    "Hello, world! 12345",
    " naïve café\n\n\tx",
    "<|im_end|>a<unk>",
    "'s won't \U0001d518\U0001d52b",
    "   ",
    "▁a▁▁b",
]


@pytest.mark.real_model
def test_text_is_read_alike(tmp_path: Path, smollm2_path: Path) -> None:
    """SmolLM2's tokenizer: the file that llama.cpp's converter made, as a folder, and as a file again."""
    fields = metadata(smollm2_path)
    size = len(fields["tokenizer.ggml.tokens"])
    folder = copied("llama-gqa", tmp_path / "folder", vocab_size=size + 3)
    tensors = safetensors.numpy.load_file(folder / "model.safetensors")
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        tensors[name] = np.zeros((size + 3, 64), np.float32)
    safetensors.numpy.save_file(tensors, folder / "model.safetensors")
    ends = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "pad_token": "<|im_end|>"}
    with_tokenizer(folder, byte_level(fields), {**ends, "chat_template": "{{ messages }}"})
    made = ruvllm.quantize(folder, tmp_path / "made.gguf", "Q8_0")
    said = metadata(made.path)
    for key, value in fields.items():
        if key.startswith("tokenizer.ggml.") and key in said:
            expected = value
            if key.endswith(".tokens"):
                expected = [*value, *(f"[PAD{size + index}]" for index in range(3))]
            elif key.endswith(".token_type"):
                expected = [*value, 5, 5, 5]
            assert said[key] == expected, key
    assert {"tokens", "merges", "pre", "model", "bos_token_id"} <= {key.split(".")[-1] for key in said}
    assert said["tokenizer.chat_template"] == "{{ messages }}"
    with LLM(made.path) as ours, LLM(folder) as theirs, LLM(smollm2_path) as original:
        for text in AWKWARD:
            assert ours.tokenize(text) == theirs.tokenize(text) == original.tokenize(text), text
        assert ours.chat_template == "{{ messages }}"


def test_pieces_and_their_scores(tmp_path: Path) -> None:
    """A small vocabulary of pieces: ids of the folder and of the file are the same."""
    normal = ["▁", "a", "b", "c", "ab", "bc", "abc", "▁a", "▁ab", "▁abc", "d", "e", "cd", "de"]
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *normal]
    pairs = "a b,▁ a,b c,ab c,a bc,▁a b,▁ ab,▁ab c,▁a bc,▁ abc,c d,d e"
    merges = [pair.split(" ") for pair in pairs.split(",")]
    added = [
        {"id": index, "content": tokens[index], "special": True, "normalized": False, "lstrip": False,
         "rstrip": False, "single_word": False}
        for index in range(3)
    ]  # fmt: skip
    blank = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    prepend = {"type": "Prepend", "prepend": "▁"}
    for number, normalizer in enumerate([blank, {"type": "Sequence", "normalizers": [prepend, blank]}]):
        source = {
            "version": "1.0", "added_tokens": added, "normalizer": normalizer, "pre_tokenizer": None,
            "post_processor": None, "decoder": {"type": "Sequence", "decoders": [
                {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"},
                {"type": "Fuse"}]},
            "model": {"type": "BPE", "vocab": {token: index for index, token in enumerate(tokens)},
                      "merges": merges, "unk_token": "<unk>", "byte_fallback": True, "fuse_unk": True},
        }  # fmt: skip
        folder = copied("llama-gqa", tmp_path / f"folder{number}")
        with_tokenizer(folder, source, {"bos_token": "<s>", "eos_token": "</s>", "add_bos_token": True})
        made = ruvllm.quantize(folder, tmp_path / f"made{number}.gguf", "F16")
        said = metadata(made.path)
        assert said["tokenizer.ggml.model"] == "llama"
        assert said["tokenizer.ggml.add_space_prefix"] == bool(number)
        assert said["tokenizer.ggml.token_type"][:4] == [2, 3, 3, 6]
        with LLM(made.path) as ours, LLM(folder) as theirs:
            for text in ("abc", "abcabc abc", "aabbcc", "cde dec", " ab  c", "é abc", "x\ny"):
                assert ours.tokenize(text) == theirs.tokenize(text), (number, text)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"pre_tokenizer": {"type": "Whitespace"}}, "cut by|no name|byte"),
        ({"normalizer": {"type": "Lowercase"}}, "Lowercase"),
    ],
)
def test_a_tokenizer_that_gguf_cannot_name_is_refused(
    tmp_path: Path, change: dict[str, object], said: str
) -> None:
    source = byte_level(metadata(FIXTURES / "gguf" / "llama-gqa.gguf"))
    folder = with_tokenizer(copied("llama-gqa", tmp_path / "folder"), {**source, **change}, {})
    with pytest.raises(TokenizationError, match=said):
        ruvllm.quantize(folder, tmp_path / "made.gguf")
    model = {**source["model"], "ignore_merges": True}  # type: ignore[dict-item]
    with_tokenizer(folder, {**source, "model": model}, {})
    with pytest.raises(TokenizationError, match="ignore_merges"):
        ruvllm.quantize(folder, tmp_path / "made.gguf")


def added_token(**said: object) -> dict[str, object]:
    """A special token behind the others, as `tokenizer.json` has it."""
    flags = {"normalized": False, "lstrip": False, "rstrip": False, "single_word": False, "special": True}
    return {"content": "<|image|>", **flags, **said}


def test_a_special_token_without_a_row_is_left_out_and_another_is_refused(tmp_path: Path) -> None:
    source = byte_level(metadata(FIXTURES / "gguf" / "llama-gqa.gguf"))
    folder = copied("llama-gqa", tmp_path / "folder")
    rows = json.loads((folder / "config.json").read_text())["vocab_size"]
    added = list(source["added_tokens"])  # type: ignore[call-overload]
    with_tokenizer(folder, {**source, "added_tokens": [*added, added_token(id=rows)]}, {})
    made = ruvllm.quantize(folder, tmp_path / "made.gguf")
    tokens = gguf.GGUFReader(made.path).fields["tokenizer.ggml.tokens"].contents()
    assert len(tokens) == rows
    assert "<|image|>" not in tokens
    for flags, said in (({"special": False}, "has no row"), ({"rstrip": True}, "blanks or words")):
        source_of = {**source, "added_tokens": [*added, added_token(id=rows, **flags)]}
        with_tokenizer(folder, source_of, {})
        with pytest.raises(TokenizationError, match=said):
            ruvllm.quantize(folder, tmp_path / "other.gguf")


def with_ends(folder: Path, ends: list[int]) -> Path:
    """A folder whose tokenizer says of no token that it ends an answer, with a configuration that does."""
    source = byte_level(metadata(FIXTURES / "gguf" / "llama-gqa.gguf"))
    with_tokenizer(copied("llama-gqa", folder, eos_token_id=5), source, {})
    if ends:
        (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": ends}))
    return folder


@pytest.mark.parametrize(("ends", "said"), [([], [5]), ([7, 9, 11], [7, 9, 11])])
def test_tokens_that_end_an_answer_are_said(tmp_path: Path, ends: list[int], said: list[int]) -> None:
    made = ruvllm.quantize(with_ends(tmp_path / "folder", ends), tmp_path / "made.gguf")
    fields = gguf.GGUFReader(made.path).fields
    keys = [f"tokenizer.ggml.{role}_token_id" for role in ("eos", "eot", "eom")]
    assert [fields[key].contents() for key in keys if key in fields] == said


def test_more_ends_than_there_are_names_for_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TokenizationError, match="4 tokens that end an answer"):
        ruvllm.quantize(with_ends(tmp_path / "folder", [6, 7, 9, 11]), tmp_path / "made.gguf")
