"""Models of which each test of conversations, documents and batches has its own cache."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ruvllm.llm import LLM
from ruvllm.text.chat_template import ChatTemplate
from tests.conftest import FIXTURES

TEMPLATE = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


def with_template(llm: LLM, source: str = TEMPLATE) -> LLM:
    """Give a model without a chat template one."""
    # What the cached property of the same name would have found.
    llm.__dict__["_template"] = ChatTemplate(source)
    return llm


@pytest.fixture
def tiny() -> Iterator[LLM]:
    """A tiny model with a chat template and an empty cache."""
    with LLM(FIXTURES / "gguf" / "llama-gqa.gguf", max_context=256) as llm:
        yield with_template(llm)


@pytest.fixture
def real(smollm2_path: Path) -> Iterator[LLM]:
    """The default model with an empty cache."""
    with LLM(smollm2_path, max_context=2048) as llm:
        yield llm
