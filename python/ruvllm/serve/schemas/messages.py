"""The bodies of `/v1/messages` and `/v1/messages/count_tokens`, as Anthropic has them."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from ruvllm.serve.conversation import Conversation
from ruvllm.serve.errors import ApiError
from ruvllm.serve.schemas.base import Body, Entries, Finite, ParseSpecial, StopTexts, TextFields
from ruvllm.serve.schemas.blocks import ContentBlock, block_messages
from ruvllm.serve.schemas.calls import CallHistory
from ruvllm.serve.schemas.chat import MAX_MESSAGES, MAX_PARTS, Content, check_part, goes_on, plain_text
from ruvllm.serve.schemas.refusals import refused_beside
from ruvllm.serve.schemas.shapes import AskedShape, shape_of_format
from ruvllm.serve.schemas.thinking import Effort, ThinkingConfig, effort_of
from ruvllm.serve.schemas.tools import MessageToolChoice, Tools, message_tools
from ruvllm.serve.tool_use import ToolUse

__all__ = ["CountTokensRequest", "MessageRequest"]


class InputMessage(Body):
    """One message."""

    role: Literal["user", "assistant", "system"]
    content: str | Annotated[list[ContentBlock], Entries(MAX_PARTS)]


class OutputConfig(Body):
    """How an answer is made, and what it must be."""

    effort: Effort | None = None
    format: dict[str, Any] | None = Field(None, description="{'type': 'json_schema', 'schema': ...}.")
    refused: ClassVar[dict[str, str]] = {
        "task_budget": "an answer has one limit, max_tokens",
    }


class MessageMetadata(Body):
    """Who asks; it changes nothing."""

    user_id: str | None = Field(None, max_length=512)


class MessagePrompt(Body):
    """What is asked of a model, to be answered or counted."""

    model: str = Field(description="A name that /v1/models lists.")
    messages: Annotated[list[InputMessage], Entries(MAX_MESSAGES, least=1)]
    system: Content | None = None
    parse_special: ParseSpecial = None

    # Prefixes are cached by themselves, so marking them asks for nothing more.
    accepted: ClassVar[frozenset[str]] = frozenset(
        {"cache_control", "service_tier", "user_profile_id", "workspace_id"}
    )
    tools: Tools | None = None
    tool_choice: MessageToolChoice | None = None
    thinking: ThinkingConfig | None = None
    output_config: OutputConfig | None = None
    refused: ClassVar[dict[str, str]] = {
        "container": "there are no containers here",
        "context_management": "the input is never shortened",
        "diagnostics": "the server has no diagnostics of requests",
        "inference_geo": "the model runs where the server stands",
        "mcp_servers": "no other servers are asked from here",
        "output_format": "give output_config.format, which came in its place",
        "speed": "the server has one speed",
    }

    def use(self) -> ToolUse:
        """What is said of tools."""
        return message_tools(self.tools or (), self.tool_choice)

    def conversation(self) -> Conversation:
        """What is to be answered; a last message of the assistant's is the beginning of the answer."""
        messages = self._messages()
        last = messages[-1] if messages else {"role": "assistant", "content": ""}
        continues = goes_on(last)
        if continues and last["content"][-1].isspace():
            # The tokens of an answer begin with a space of their own, so templates cut this one off.
            place = f"messages[{len(self.messages) - 1}].content"
            message = f"{place}: the beginning of an answer must not end with white space"
            raise ApiError(400, message, code="invalid_value", param=place)
        if messages and last["role"] == "assistant" and not last["content"] and not last.get("tool_calls"):
            messages.pop()
        if self.system is not None:
            messages.insert(0, {"role": "system", "content": plain_text(self.system, "system")})
        effort = effort_of(self.thinking, self.output_config.effort if self.output_config else None)
        return Conversation(
            messages=messages,
            continues_last=continues,
            use=self.use(),
            effort=effort or ("high" if self.thinking is not None else None),
            parse_special=bool(self.parse_special),
        )

    def _messages(self) -> list[dict[str, Any]]:
        history = CallHistory()
        plain: list[dict[str, Any]] = []
        for index, message in enumerate(self.messages):
            where = f"messages[{index}]"
            check_part(message, where)
            if isinstance(message.content, str):
                plain.append({"role": message.role, "content": message.content})
            else:
                plain += block_messages(message.role, message.content, where, history)
        return plain


class CountTokensRequest(MessagePrompt):
    """A conversation that is to be counted."""


class MessageRequest(TextFields, MessagePrompt):
    """A conversation that is to be answered."""

    max_tokens: int = Field(ge=1, description="The longest answer.")
    temperature: Finite | None = Field(
        None, ge=0, le=1, description="0 takes the likeliest token; 1 by default."
    )
    stop_sequences: StopTexts | None = None
    metadata: MessageMetadata | None = None

    accepted: ClassVar[frozenset[str]] = MessagePrompt.accepted
    refused: ClassVar[dict[str, str]] = {
        **refused_beside("tools", "tool_choice", "parallel_tool_calls"),
        **MessagePrompt.refused,
        "parallel_tool_calls": "give tool_choice.disable_parallel_tool_use",
        "max_completion_tokens": "give max_tokens",
        "n": "a message is one answer",
        "stop": "give stop_sequences",
    }

    def thought_limit(self) -> int | None:
        """How many tokens a model that thinks first may think."""
        return self.thinking.budget_tokens if self.thinking else None

    def shape(self) -> AskedShape | None:
        """What the answer must be."""
        return shape_of_format(
            self.output_config.format if self.output_config else None, "output_config.format"
        )

    def stops(self) -> tuple[str, ...]:
        """Texts that end an answer."""
        return tuple(self.stop_sequences or ())
