"""The content blocks of Anthropic's messages, on their way to messages as templates take them."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, ClassVar

from ruvllm.serve.errors import ApiError, unsupported
from ruvllm.serve.schemas.base import Body, Entries
from ruvllm.serve.schemas.calls import CallHistory, CallId, ToolName, call_message
from ruvllm.serve.schemas.chat import MAX_PARTS, ContentPart, plain_text

__all__ = ["ContentBlock", "block_messages", "signature_of"]


class ContentBlock(Body):
    """A piece of a message: a text, a thought, a call or a call's result."""

    type: str
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    id: CallId | None = None
    name: ToolName | None = None
    input: dict[str, Any] | None = None
    tool_use_id: CallId | None = None
    content: str | Annotated[list[ContentPart], Entries(MAX_PARTS)] | None = None
    is_error: bool | None = None
    accepted: ClassVar[frozenset[str]] = frozenset({"cache_control", "citations", "annotations", "caller"})


def signature_of(thinking: str) -> str:
    """What says that a thought is one of this server's, so that it may stand in a conversation again.

    It keeps other models' thoughts out. It keeps nobody from writing some: a conversation is its writer's.
    """
    return hashlib.blake2b(thinking.encode("utf-8", "surrogatepass"), person=b"ruvllm thinking").hexdigest()


def block_messages(
    role: str, blocks: Sequence[ContentBlock], where: str, history: CallHistory
) -> Iterator[dict[str, Any]]:
    """The messages that one of blocks stands for: results each for itself, and then the rest."""
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[dict[str, Any]] = []
    has_results = False
    for index, block in enumerate(blocks):
        place = f"{where}.content[{index}]"
        if block.type == "tool_result" and role == "user":
            has_results = True
            yield _result(block, place, history)
        elif block.type == "tool_use" and role == "assistant":
            calls.append(_call(block, place, history))
        elif block.type in ("thinking", "redacted_thinking") and role == "assistant":
            # Thoughts of another model's, which a client may bring along, are none of this one's.
            if block.thinking and block.signature == signature_of(block.thinking):
                thoughts.append(block.thinking)
        elif block.type == "text":
            texts.append(_text(block, place))
        else:
            raise unsupported(place, f"a message of the {role}'s has no {block.type[:40]!r} here")
    if texts or not has_results:
        message: dict[str, Any] = {"role": role, "content": "".join(texts)}
        if thoughts:
            message["reasoning_content"] = "\n".join(thoughts)
        yield {**message, "tool_calls": calls} if calls else message


def _text(block: ContentBlock, place: str) -> str:
    return plain_text([ContentPart(type="text", text=_given(block.text, f"{place}.text"))], place)


def _call(block: ContentBlock, place: str, history: CallHistory) -> dict[str, Any]:
    call_id, name = _given(block.id, f"{place}.id"), _given(block.name, f"{place}.name")
    history.made(call_id, name)
    return call_message(call_id, name, json.dumps(block.input or {}, ensure_ascii=False))


def _result(block: ContentBlock, place: str, history: CallHistory) -> dict[str, Any]:
    content = plain_text(block.content, f"{place}.content")
    if block.is_error:
        content = f"Error: {content}"
    return history.result(block.tool_use_id, content, f"{place}.tool_use_id")


def _given(value: str | None, place: str) -> str:
    if value is None:
        raise ApiError(400, f"{place} is missing", code="invalid_value", param=place)
    return value
