"""Tiny models that compute in f32, whose learning NumPy follows in f64."""

from collections.abc import Iterator

import pytest

from ruvllm import LLM
from tests.conftest import FIXTURES

MODELS = ["llama-gqa", "gemma2-softcap"]


@pytest.fixture(scope="module", params=MODELS)
def name(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture(scope="module")
def llm(name: str) -> Iterator[LLM]:
    with LLM(FIXTURES / "models" / name, activations="f32", kv_format="f32") as llm:
        yield llm
