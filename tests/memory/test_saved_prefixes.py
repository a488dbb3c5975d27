"""What a model kept goes into a file, and to the same model only: its files decide, not where they are."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ruvllm import LLM, GenerateParams, StorageError
from tests.conftest import FIXTURES

PROMPT = [40 + index for index in range(60)]
PARAMS = GenerateParams(temperature=0.0, max_tokens=1)


def copied_file(place: Path) -> tuple[Path, Path]:
    weights = place / "model.gguf"
    shutil.copyfile(FIXTURES / "gguf" / "llama-gqa.gguf", weights)
    return weights, weights


def copied_folder(place: Path) -> tuple[Path, Path]:
    shutil.copytree(FIXTURES / "models" / "llama-gqa", place / "model")
    return place / "model", place / "model" / "model.safetensors"


@pytest.mark.parametrize("copied", [copied_file, copied_folder])
def test_the_same_model_elsewhere_takes_it_and_one_of_other_weights_does_not(
    copied: Callable[[Path], tuple[Path, Path]], tmp_path: Path
) -> None:
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    saved = tmp_path / "prefixes"
    with LLM(copied(tmp_path / "here")[0], max_context=128) as llm:
        llm.generate(PROMPT, PARAMS)
        assert llm.prefix_cache.save(saved) > 0
    model, weights = copied(tmp_path / "there")
    with LLM(model, max_context=128) as llm:
        assert llm.prefix_cache.load(saved).entries > 0
        assert llm.generate(PROMPT, PARAMS).usage.cached_tokens == len(PROMPT) - 1
    # One bit of one weight, in a tensor's last bytes; all else, the sizes too, is the same.
    content = bytearray(weights.read_bytes())
    content[-2] ^= 1
    weights.write_bytes(content)
    with LLM(model, max_context=128) as llm:
        with pytest.raises(StorageError, match="it belongs to"):
            llm.prefix_cache.load(saved)
        assert llm.generate(PROMPT, PARAMS).usage.cached_tokens == 0
