"""Whether a format is what a chat template writes: a call that the template wrote is read back."""

import json
from typing import Any

from ruvllm.errors import TokenizationError
from ruvllm.text.chat_template import ChatTemplate
from ruvllm.text.response.format import ResponseFormat
from ruvllm.text.response.parts import CallArguments, CallBegan
from ruvllm.text.response.traits import SAMPLE_ARGUMENTS, SAMPLE_TOOL, TemplateTraits, sample_turn
from ruvllm.text.response.writing import arguments_of
from ruvllm.tools import ToolDefinition

__all__ = ["reads_back", "written_calls"]


def written_calls(template: ChatTemplate, traits: TemplateTraits, *, calls: int = 1) -> str:
    """What a template writes of calls, and behind them; empty where it writes none."""
    arguments: Any = SAMPLE_ARGUMENTS
    if traits.text_arguments:
        arguments = json.dumps(SAMPLE_ARGUMENTS)
    turn = sample_turn(arguments, calls=calls)[:2]
    variables = {"tools": [SAMPLE_TOOL] if traits.tools else None}
    try:
        prompt = template.render(turn[:1], variables=variables)
        question = template.render(turn[:1], add_generation_prompt=False, variables=variables)
        whole = template.render(turn, add_generation_prompt=False, variables=variables)
    except TokenizationError:
        return ""
    # Where the prompt opens a thought, a turn that has none goes on otherwise.
    before = prompt if whole.startswith(prompt) else question
    return whole[len(before) :] if whole.startswith(before) else ""


def reads_back(found: ResponseFormat, written: str) -> bool:
    """Whether a format's parser finds the call in what a template has written."""
    parser = found.parser(tools=[ToolDefinition.of(SAMPLE_TOOL)])
    parts = [*parser.feed(written), *parser.end("stop")]
    names = [part.name for part in parts if isinstance(part, CallBegan)]
    arguments = "".join(part.fragment for part in parts if isinstance(part, CallArguments))
    expected = ToolDefinition.of(SAMPLE_TOOL).name
    return names == [expected] and bool(arguments_of(arguments) == SAMPLE_ARGUMENTS)
