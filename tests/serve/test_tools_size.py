"""Tools that are large become tokens beside the event loop, as long texts do."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest

from ruvllm import LLM, AsyncEngine
from ruvllm.serve.asked_model import AskedModel
from ruvllm.serve.conversation import Conversation, conversation_tokens
from ruvllm.serve.models import ServedModel
from ruvllm.serve.off_loop import AT_ONCE, Errand, OffLoop
from ruvllm.serve.tool_use import ToolUse
from ruvllm.tools import ToolDefinition
from tests.serve.scripted_models import write_script
from tests.serve.tool_models import ASK

Result = TypeVar("Result")


@dataclass(frozen=True)
class Noted(Errand):
    sizes: list[int] = field(default_factory=list)

    async def do(self, size: int, work: Callable[[], Result]) -> Result:
        self.sizes.append(size)
        return await super().do(size, work)


@pytest.mark.parametrize(
    ("parameters", "description", "at_once"),
    [
        ({"properties": {"a": {"type": "string", "description": "A text."}}}, "Says it.", True),
        ({}, "Says it. " * 3000, False),
        ({"properties": {f"p{index}": {"type": "string"} for index in range(3000)}}, "", False),
        ({"properties": {"a": {"enum": ["x" * 20] * 1500}}}, "", False),
    ],
)
async def test_a_large_tool_is_written_beside_the_loop(
    tmp_path: Path, parameters: dict[str, Any], description: str, at_once: bool
) -> None:
    tool = ToolDefinition(name="say", description=description, parameters=parameters)
    errand = Noted(OffLoop(), "anna")
    with LLM(write_script(tmp_path / "model.gguf", ["Hel", "lo."])) as llm:
        model = AskedModel(name="model", served=ServedModel.loaded("model", AsyncEngine(llm)))
        asked = Conversation(messages=ASK, use=ToolUse(tools=(tool,)))
        assert await conversation_tokens(errand, model, asked)
    assert [size <= AT_ONCE for size in errand.sizes] == [at_once]
