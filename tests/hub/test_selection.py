"""Which files of a repository are the model."""

import pytest

from ruvllm.errors import NotFoundError
from ruvllm.hub import HubModel
from ruvllm.hub.selection import gguf_models, quantization_of, select

GGUFS = [
    "README.md",
    "model-Q8_0.gguf",
    "model-q4_k_m.gguf",
    "model-IQ2_XXS.gguf",
    "mmproj-model-f16.gguf",
    "model.imatrix.gguf",
    "big/model-BF16-00001-of-00002.gguf",
    "big/model-BF16-00002-of-00002.gguf",
    "broken-Q2_K-00001-of-00002.gguf",
]
FOLDER = [
    "README.md",
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "model.safetensors.index.json",
    "model-00001-of-00002.safetensors",
    "model-00002-of-00002.safetensors",
    "consolidated.safetensors",
    "pytorch_model.bin",
    "onnx/config.json",
    "onnx/model.safetensors",
]


@pytest.mark.parametrize(
    ("name", "quantization"),
    [
        ("SmolLM2-135M-Instruct.Q4_1.gguf", "Q4_1"),
        ("gemma-3-270m-q4_k_m.gguf", "Q4_K_M"),
        ("Qwen3-0.6B-UD-IQ2_XXS.gguf", "UD-IQ2_XXS"),
        ("model-BF16-00001-of-00003.gguf", "BF16"),
        ("model.f16.gguf", "F16"),
        ("fp16.gguf", "FP16"),
        ("gpt-oss-20b-mxfp4.gguf", "MXFP4"),
        ("Q6_K/model-00001-of-00002.gguf", "Q6_K"),
        ("Q6_K/model-Q4_0.gguf", "Q4_0"),
        ("model.gguf", None),
        ("Qwen2.5-7B.gguf", None),
    ],
)
def test_quantization_of_a_file_name(name: str, quantization: str | None) -> None:
    assert quantization_of(name) == quantization


@pytest.mark.parametrize(
    ("quantization", "files"),
    [
        ("Q4_K_M", ("model-q4_k_m.gguf",)),
        ("q8_0", ("model-Q8_0.gguf",)),
        ("bf16", ("big/model-BF16-00001-of-00002.gguf", "big/model-BF16-00002-of-00002.gguf")),
        (None, ("model-q4_k_m.gguf",)),
    ],
)
def test_a_quantization_is_chosen(quantization: str | None, files: tuple[str, ...]) -> None:
    choice = select(GGUFS, HubModel(repo_id="org/repo", quantization=quantization))
    assert (choice.files, choice.entry_file) == (files, files[0])


def test_the_first_where_there_is_no_default() -> None:
    assert select(["b-Q8_0.gguf", "a-Q6_K.gguf"], HubModel(repo_id="org/repo")).entry_file == "a-Q6_K.gguf"


def test_an_unknown_quantization_lists_the_choices() -> None:
    with pytest.raises(NotFoundError, match="'Q3_K_S'; it has: BF16, IQ2_XXS, Q8_0, Q4_K_M"):
        select(GGUFS, HubModel(repo_id="org/repo", quantization="Q3_K_S"))
    with pytest.raises(NotFoundError, match=r"holds no \.gguf files"):
        select(FOLDER, HubModel(repo_id="org/repo", quantization="Q3_K_S"))


def test_a_split_model_with_a_part_missing_and_other_weights_are_no_models() -> None:
    names = [choice.entry_file for choice in gguf_models(GGUFS)]
    assert "broken-Q2_K-00001-of-00002.gguf" not in names
    assert not any("mmproj" in name or "imatrix" in name for name in names if name)


def test_a_folder_has_its_weights_once_and_only_from_the_top() -> None:
    choice = select([*FOLDER, *GGUFS], HubModel(repo_id="org/repo"))
    assert choice.entry_file is None
    assert [name for name in choice.files if name.endswith(".safetensors")] == [
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
    ]
    assert {"config.json", "tokenizer.json", "chat_template.jinja"} < set(choice.files)
    assert not {"pytorch_model.bin", "README.md", "onnx/config.json"} & set(choice.files)


def test_a_named_file() -> None:
    model = HubModel(repo_id="org/repo", file_name="big/model-BF16-00002-of-00002.gguf")
    assert select(GGUFS, model).entry_file == "big/model-BF16-00001-of-00002.gguf"
    assert select(GGUFS, HubModel(repo_id="org/repo", file_name="model-Q8_0.gguf")).files == (
        "model-Q8_0.gguf",
    )
    with pytest.raises(NotFoundError, match=r"no file 'x.gguf'.*model-Q8_0.gguf"):
        select(GGUFS, HubModel(repo_id="org/repo", file_name="x.gguf"))


def test_nothing_to_load() -> None:
    with pytest.raises(NotFoundError, match="neither"):
        select(["README.md", "model.bin"], HubModel(repo_id="org/repo"))
