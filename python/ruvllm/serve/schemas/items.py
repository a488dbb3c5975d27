"""The items of a response's input: messages, calls, their results, and what was thought."""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, ClassVar

from ruvllm.serve.call_arguments import custom_arguments
from ruvllm.serve.errors import ApiError, unsupported
from ruvllm.serve.schemas.base import Body, Entries, Role
from ruvllm.serve.schemas.calls import CallHistory, CallId, ToolName, call_message
from ruvllm.serve.schemas.chat import MAX_PARTS, ChatMessage, Content, ContentPart, plain_message, plain_text

__all__ = ["InputItem", "item_messages", "output_text"]

_CALLS = ("function_call", "custom_tool_call")
_RESULTS = ("function_call_output", "custom_tool_call_output")
_PREFIXES = {"message": "msg", "function_call": "fc", "custom_tool_call": "ctc", "reasoning": "rs"}


class InputItem(Body):
    """An item of the input; those of types that have no row here are refused."""

    type: str | None = None
    role: Role | None = None
    content: Content | None = None
    call_id: CallId | None = None
    name: ToolName | None = None
    arguments: str | None = None
    input: str | None = None
    output: Content | None = None
    summary: Annotated[list[ContentPart], Entries(MAX_PARTS)] | None = None
    # Thoughts that were encrypted elsewhere cannot be read here.
    accepted: ClassVar[frozenset[str]] = frozenset(
        {"id", "status", "phase", "namespace", "caller", "encrypted_content"}
    )

    @property
    def kind(self) -> str:
        """Its type; what does not say any is a message."""
        return self.type or "message"

    def given(self, name: str, where: str) -> Any:
        """A field that items of its type have; 400 where it is missing."""
        value = getattr(self, name)
        if value is None:
            place = f"{where}.{name}"
            raise ApiError(400, f"{place} is missing", code="missing_required_parameter", param=place)
        return value

    def listed(self) -> dict[str, Any]:
        """The item as `/v1/responses/ID/input_items` gives it; it was found in order before."""
        item_id = f"{_PREFIXES.get(self.kind, 'item')}_{secrets.token_hex(24)}"
        if self.kind != "message":
            said = self.model_dump(exclude_none=True, exclude={"type", "role"})
            return {**said, "id": item_id, "type": self.kind, "status": "completed"}
        content = self.content or []
        texts = [content] if isinstance(content, str) else [part.text or "" for part in content]
        if self.role == "assistant":
            parts = [output_text(text) for text in texts]
        else:
            parts = [{"type": "input_text", "text": text} for text in texts]
        return {
            "id": item_id,
            "type": "message",
            "role": self.role,
            "status": "completed",
            "content": parts,
        }


def output_text(text: str) -> dict[str, Any]:
    """A part of an answer."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def item_messages(items: Sequence[InputItem], earlier: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The messages of an input that follows earlier ones; 400 by its place for what is none."""
    history = CallHistory(earlier)
    messages: list[dict[str, Any]] = []
    thoughts: list[str] = []
    for index, item in enumerate(items):
        where = f"input[{index}]"
        if item.kind == "reasoning":
            thoughts += _thoughts(item, where)
            continue
        if item.kind in _CALLS:
            call = _call(item, where, history)
            last = messages[-1] if messages else None
            if last is None or last["role"] != "assistant" or thoughts:
                messages.append(last := {"role": "assistant", "content": "", "tool_calls": []})
            last.setdefault("tool_calls", []).append(call)
        elif item.kind in _RESULTS:
            content = plain_text(item.given("output", where), f"{where}.output")
            messages.append(history.result(item.given("call_id", where), content, f"{where}.call_id"))
        elif item.kind == "message":
            messages.append(_message(item, where, history))
        else:
            raise unsupported(where, f"this server reads messages, calls and results, not {item.kind[:40]!r}")
        if thoughts and messages[-1]["role"] == "assistant":
            messages[-1]["reasoning_content"] = "\n".join(thoughts)
        thoughts = []
    return messages


def _message(item: InputItem, where: str, history: CallHistory) -> dict[str, Any]:
    role, content = item.given("role", where), item.given("content", where)
    if role == "tool":
        raise unsupported(f"{where}.role", "results of tools are items of the type 'function_call_output'")
    return plain_message(ChatMessage.model_construct(role=role, content=content), where, history)


def _call(item: InputItem, where: str, history: CallHistory) -> dict[str, Any]:
    call_id, name = item.given("call_id", where), item.given("name", where)
    if item.kind == "custom_tool_call":
        arguments = custom_arguments(item.given("input", where))
    else:
        arguments = item.given("arguments", where)
    history.made(call_id, name)
    return call_message(call_id, name, arguments)


def _thoughts(item: InputItem, where: str) -> list[str]:
    """What was thought; the text itself, and where there is none its summary."""
    parts = item.content if item.content else item.summary or []
    if isinstance(parts, str):
        return [parts]
    texts = []
    for index, part in enumerate(parts):
        if part.type not in ("reasoning_text", "summary_text") or part.text is None:
            raise unsupported(f"{where}.content[{index}]", "a thought is a text")
        texts.append(part.text)
    return texts
