"""The bodies of `/v1/messages` and `/v1/messages/count_tokens`, as Anthropic has them."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ruvllm.serve.conversation import Conversation
from ruvllm.serve.errors import ApiError
from ruvllm.serve.schemas.base import Body, Entries, Finite, ParseSpecial, StopTexts, TextFields
from ruvllm.serve.schemas.chat import MAX_MESSAGES, ChatMessage, Content, plain_messages, plain_text
from ruvllm.serve.schemas.refusals import thinks

__all__ = ["CountTokensRequest", "MessageRequest"]

_NO_TOOLS = "this server has no tools yet"


class InputMessage(ChatMessage):
    """One message."""

    role: Literal["user", "assistant", "system"]
    content: Content


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
    refused: ClassVar[dict[str, str]] = {
        "container": "there are no containers here",
        "context_management": "the input is never shortened",
        "diagnostics": "the server has no diagnostics of requests",
        "inference_geo": "the model runs where the server stands",
        "mcp_servers": _NO_TOOLS,
        "output_config": "answers are plain text here, and effort cannot be set",
        "output_format": "answers are plain text here",
        "speed": "the server has one speed",
        "thinking": "the model's thinking cannot be set",
        "tool_choice": _NO_TOOLS,
        "tools": _NO_TOOLS,
    }

    def conversation(self) -> Conversation:
        """What is to be answered; a last message of the assistant's is the beginning of the answer."""
        messages = plain_messages(self.messages)
        last = messages[-1]
        continues = last["role"] == "assistant" and bool(last["content"])
        if continues and last["content"][-1].isspace():
            # The tokens of an answer begin with a space of their own, so templates cut this one off.
            place = f"messages[{len(messages) - 1}].content"
            message = f"{place}: the beginning of an answer must not end with white space"
            raise ApiError(400, message, code="invalid_value", param=place)
        if last["role"] == "assistant" and not continues:
            messages.pop()
        if self.system is not None:
            messages.insert(0, {"role": "system", "content": plain_text(self.system, "system")})
        return Conversation(
            messages=messages,
            continues_last=continues,
            thinks=thinks(self.model_extra),
            parse_special=bool(self.parse_special),
        )


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
        **TextFields.refused,
        **MessagePrompt.refused,
        "max_completion_tokens": "give max_tokens",
        "n": "a message is one answer",
        "stop": "give stop_sequences",
    }

    def stops(self) -> tuple[str, ...]:
        """Texts that end an answer."""
        return tuple(self.stop_sequences or ())
