"""The body of `/v1/chat/completions`, and its messages."""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, ClassVar, Protocol

from pydantic import Field

from ruvllm.serve.conversation import MESSAGE_SIZE, Conversation
from ruvllm.serve.errors import ApiError, unsupported
from ruvllm.serve.schemas.base import Body, Entries, LogprobCount, ParseSpecial, Role, SamplingFields
from ruvllm.serve.schemas.refusals import thinks

__all__ = [
    "ChatMessage",
    "ChatRequest",
    "Content",
    "ContentPart",
    "messages_size",
    "plain_message",
    "plain_messages",
    "plain_text",
]

MAX_MESSAGES = 4096
MAX_PARTS = 4096


class ContentPart(Body):
    """A piece of a message; only text is understood."""

    type: str
    text: str | None = None
    accepted: ClassVar[frozenset[str]] = frozenset({"cache_control", "citations", "annotations"})


Content = str | Annotated[list[ContentPart], Entries(MAX_PARTS)]
"""What a message says, in one piece or in several."""


class HasContent(Protocol):
    """Any API's message."""

    @property
    def content(self) -> Content | None:
        """What it says."""


class ChatMessage(Body):
    """One message."""

    role: Role
    content: Content | None = None
    name: str | None = Field(None, max_length=256)
    refused: ClassVar[dict[str, str]] = {
        "tool_calls": "this server has no tools yet",
        "tool_call_id": "this server has no tools yet",
        "function_call": "this server has no tools yet",
        "audio": "the model reads text only",
    }
    accepted: ClassVar[frozenset[str]] = frozenset({"refusal", "annotations", "reasoning_content"})


class ChatRequest(SamplingFields):
    """A conversation that is to be answered."""

    messages: Annotated[list[ChatMessage], Entries(MAX_MESSAGES, least=1)]
    max_tokens: int | None = Field(None, ge=1, description="Older name of max_completion_tokens.")
    max_completion_tokens: int | None = Field(None, ge=1, description="The longest answer.")
    logprobs: bool | None = None
    top_logprobs: LogprobCount | None = None
    parse_special: ParseSpecial = None

    def num_logprobs(self) -> int | None:
        """How many likeliest tokens to report; `None` for no logprobs at all."""
        if self.top_logprobs and not self.logprobs:
            message = "top_logprobs needs logprobs to be true"
            raise ApiError(400, message, code="invalid_value", param="top_logprobs")
        return (self.top_logprobs or 0) if self.logprobs else None

    def conversation(self) -> Conversation:
        """What is to be answered; a last message of the assistant's is the beginning of the answer."""
        messages = plain_messages(self.messages)
        last = messages[-1]
        return Conversation(
            messages=messages,
            continues_last=last["role"] == "assistant" and bool(last["content"].strip()),
            thinks=thinks(self.model_extra),
            parse_special=bool(self.parse_special),
        )


def messages_size(messages: Iterable["HasContent"]) -> int:
    """How long `plain_messages` takes, in the unit of `off_loop.AT_ONCE`."""
    return MESSAGE_SIZE * sum(len(one.content) if isinstance(one.content, list) else 1 for one in messages)


def plain_messages(messages: Sequence[ChatMessage]) -> list[dict[str, Any]]:
    """Messages with texts as contents; 400 by its place for what a text model cannot read."""
    return [plain_message(message, f"messages[{index}]") for index, message in enumerate(messages)]


def plain_message(message: ChatMessage, where: str) -> dict[str, Any]:
    """One message as a template takes it; `where` names it in an error."""
    try:
        message.check_fields()
    except ApiError as error:
        raise unsupported(f"{where}.{error.param}", error.message.partition(": ")[2]) from None
    if message.role in ("tool", "function"):
        raise unsupported(f"{where}.role", "this server has no tools yet")
    if message.content is None and message.role != "assistant":
        raise ApiError(400, f"{where}.content is missing", code="invalid_value", param=f"{where}.content")
    # Few templates know `developer`; it is what `system` was called before.
    plain: dict[str, Any] = {"role": "system" if message.role == "developer" else message.role}
    plain["content"] = plain_text(message.content, f"{where}.content")
    return plain if message.name is None else {**plain, "name": message.name}


def plain_text(content: str | list[ContentPart] | None, where: str) -> str:
    """The text of a message's content."""
    if content is None or isinstance(content, str):
        return content or ""
    texts = []
    for index, part in enumerate(content):
        if part.type not in ("text", "input_text", "output_text"):
            raise unsupported(f"{where}[{index}]", f"the model reads text, not {part.type[:40]!r}")
        if part.text is None:
            place = f"{where}[{index}].text"
            raise ApiError(400, f"{place} is missing", code="invalid_value", param=place)
        texts.append(part.text)
    return "".join(texts)
