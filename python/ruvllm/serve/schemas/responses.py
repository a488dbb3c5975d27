"""The body of `/v1/responses`."""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

from pydantic import Field

from ruvllm.serve.conversation import Conversation
from ruvllm.serve.schemas.base import Body, Entries, ParseSpecial, StreamOptions, TextFields
from ruvllm.serve.schemas.chat import MAX_MESSAGES
from ruvllm.serve.schemas.items import InputItem, item_messages
from ruvllm.serve.schemas.refusals import ACCEPTED, refused_beside
from ruvllm.serve.schemas.shapes import AskedShape, shape_of_format
from ruvllm.serve.schemas.thinking import ReasoningConfig
from ruvllm.serve.schemas.tools import Choice, Tools, response_tools
from ruvllm.serve.tool_use import ToolUse

__all__ = ["ResponseRequest", "TextConfig"]

_Label = Annotated[str, Field(max_length=512)]
Metadata = Annotated[dict[Annotated[str, Field(max_length=64)], _Label], Entries(16)]


class TextConfig(Body):
    """What kind of text an answer is."""

    format: dict[str, Any] | None = Field(None, description="{'type': 'json_schema', 'schema': ...}.")
    accepted: ClassVar[frozenset[str]] = frozenset({"verbosity"})


class ResponseRequest(TextFields):
    """A conversation that is to be answered, or what is added to one that the server keeps."""

    input: str | Annotated[list[InputItem], Entries(MAX_MESSAGES, least=1)]
    instructions: str | None = Field(None, description="The system's message, for this response alone.")
    previous_response_id: str | None = Field(None, description="The response that this one follows.")
    store: bool | None = Field(None, description="False keeps nothing of it.")
    max_output_tokens: int | None = Field(None, ge=1, description="The longest answer.")
    metadata: Metadata | None = Field(None, description="Given back with the response.")
    text: TextConfig | None = None
    stream_options: StreamOptions | None = None
    parse_special: ParseSpecial = None
    # Told back with the response, so they are bounded; nothing depends on them.
    max_tool_calls: int | None = Field(None, ge=0, le=2**31 - 1)
    prompt_cache_key: _Label | None = None
    safety_identifier: _Label | None = None
    tools: Tools | None = None
    tool_choice: Choice | None = Field(None, description="'auto', 'none', or which tools are allowed.")
    parallel_tool_calls: bool | None = Field(None, description="False: a response has one call at most.")
    reasoning: ReasoningConfig | None = None

    refused: ClassVar[dict[str, str]] = {
        **refused_beside("tools", "tool_choice", "parallel_tool_calls", "reasoning"),
        "background": "a response is made while its client waits",
        "context_management": "the input is never shortened",
        "conversation": "conversations go on by previous_response_id",
        "include": "there is nothing more to include",
        "logprobs": "ask for them at /v1/chat/completions",
        "max_completion_tokens": "give max_output_tokens",
        "max_tokens": "give max_output_tokens",
        "messages": "give input",
        "n": "a response is one answer; /v1/chat/completions makes several",
        "prompt": "there are no stored prompts",
        "stop": "responses have no stop sequences; /v1/chat/completions has",
        "top_logprobs": "ask for them at /v1/chat/completions",
        "truncation": "the input is never cut",
    }
    accepted: ClassVar[frozenset[str]] = ACCEPTED | {"client_metadata", "prompt_cache_options"}

    def items(self) -> list[InputItem]:
        """The input as items; a lone text is the user's message."""
        if isinstance(self.input, str):
            return [InputItem(role="user", content=self.input)]
        return self.input

    def messages(self, earlier: Sequence[dict[str, Any]]) -> tuple[dict[str, Any], ...]:
        """All messages, with those of the responses before; 400 by its place for what is none."""
        return (*earlier, *item_messages(self.items(), earlier))

    def thought_limit(self) -> int | None:
        """How many tokens a model that thinks first may think."""
        return self.reasoning.max_tokens if self.reasoning else None

    def shape(self) -> AskedShape | None:
        """What the answer must be."""
        return shape_of_format(self.text.format if self.text else None, "text.format")

    def use(self) -> ToolUse:
        """What is said of tools."""
        parallel = self.parallel_tool_calls is not False
        return response_tools(self.tools or (), self.tool_choice, parallel=parallel)

    def conversation(self, messages: tuple[dict[str, Any], ...]) -> Conversation:
        """What is to be answered, out of all messages up to now."""
        system = [] if self.instructions is None else [{"role": "system", "content": self.instructions}]
        return Conversation(
            messages=[*system, *messages],
            use=self.use(),
            effort=self.reasoning.effort if self.reasoning else None,
            parse_special=bool(self.parse_special),
            param="input",
        )
