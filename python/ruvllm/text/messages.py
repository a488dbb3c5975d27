"""Messages of a conversation, checked before any template sees them."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from ruvllm.errors import TokenizationError

__all__ = ["ROLES", "Message", "MessageLike", "check_messages"]

ROLES = ("system", "developer", "user", "assistant", "tool")
Message: TypeAlias = dict[str, Any]
"""A checked message: `role` and `content` are texts; other keys are as the caller gave them."""
MessageLike: TypeAlias = Mapping[str, Any]
"""What callers may give: `content` is a text or a list of `{"type": "text", "text": ...}` parts."""


def check_messages(messages: str | Sequence[MessageLike]) -> list[Message]:
    """Give the messages with plain texts as contents; a lone text is a user's message.

    Raises `TokenizationError` naming the message's index and what is wrong with it.

    >>> check_messages("Hello")
    [{'role': 'user', 'content': 'Hello'}]
    """
    if isinstance(messages, str):
        return [{"role": "user", "content": messages}]
    if isinstance(messages, Mapping) or not isinstance(messages, Sequence):
        kind = type(messages).__name__
        raise TokenizationError(f"messages is a {kind}; give a text or a list of messages")
    if not messages:
        raise TokenizationError("messages is empty; give at least one message")
    return [_check_message(index, message) for index, message in enumerate(messages)]


def _check_message(index: int, message: object) -> Message:
    where = f"messages[{index}]"
    if not isinstance(message, Mapping):
        raise TokenizationError(
            f"{where} is a {type(message).__name__}; it must be a dict with role and content"
        )
    role = message.get("role")
    if role not in ROLES:
        raise TokenizationError(f"{where} has the role {role!r}; it must be one of {', '.join(ROLES)}")
    checked = {str(key): value for key, value in message.items()}
    if message.get("content") is None and role == "assistant" and message.get("tool_calls"):
        checked["content"] = ""
    else:
        checked["content"] = _content_text(f"{where}['content']", message.get("content"))
    return checked


def _content_text(where: str, content: object) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, Sequence) or isinstance(content, bytes | bytearray):
        kind = type(content).__name__
        raise TokenizationError(f"{where} is a {kind}; it must be a text or a list of text parts")
    return "".join(_part_text(f"{where}[{index}]", part) for index, part in enumerate(content))


def _part_text(where: str, part: object) -> str:
    if isinstance(part, str):
        return part
    if not isinstance(part, Mapping) or part.get("type") != "text":
        kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
        raise TokenizationError(
            f"{where} is of the type {kind!r}; only parts of the type 'text' are understood"
        )
    text = part.get("text")
    if not isinstance(text, str):
        raise TokenizationError(f"{where}['text'] is a {type(text).__name__}; it must be a text")
    return text
