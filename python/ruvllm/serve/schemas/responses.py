"""The body of `/v1/responses`, and its items."""

from typing import Annotated, Any, ClassVar

from pydantic import Field

from ruvllm.serve.conversation import Conversation
from ruvllm.serve.errors import ApiError, unsupported
from ruvllm.serve.schemas.base import Body, Entries, ParseSpecial, Role, StreamOptions, TextFields
from ruvllm.serve.schemas.chat import MAX_MESSAGES, ChatMessage, Content, plain_message
from ruvllm.serve.schemas.refusals import ACCEPTED, REFUSED, thinks

__all__ = ["InputItem", "ResponseRequest", "TextConfig"]

_Label = Annotated[str, Field(max_length=512)]
Metadata = Annotated[dict[Annotated[str, Field(max_length=64)], _Label], Entries(16)]


class TextConfig(Body):
    """What kind of text an answer is: plain text."""

    refused: ClassVar[dict[str, str]] = {"format": "answers are plain text here, {'type': 'text'}"}
    accepted: ClassVar[frozenset[str]] = frozenset({"verbosity"})


class InputItem(Body):
    """A message of the input; items of other types have other fields, and are refused."""

    type: str | None = None
    role: Role | None = None
    content: Content | None = None
    accepted: ClassVar[frozenset[str]] = frozenset({"id", "status", "phase"})

    def message(self, where: str) -> dict[str, Any]:
        """The message as a template takes it; 400 by its place for what is none."""
        if self.type not in (None, "message"):
            raise unsupported(where, f"this server reads messages, not {self.type[:40]!r}")
        for name in ("role", "content"):
            if getattr(self, name) is None:
                place = f"{where}.{name}"
                raise ApiError(400, f"{place} is missing", code="missing_required_parameter", param=place)
        assert self.role is not None  # noqa: S101 - just checked
        return plain_message(ChatMessage(role=self.role, content=self.content, name=None), where)

    def listed(self, item_id: str) -> dict[str, Any]:
        """The item as `/v1/responses/ID/input_items` gives it; its message was found in order before."""
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

    refused: ClassVar[dict[str, str]] = {
        **REFUSED,
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
    accepted: ClassVar[frozenset[str]] = ACCEPTED | {"prompt_cache_options"}

    def items(self) -> list[InputItem]:
        """The input as items; a lone text is the user's message."""
        if isinstance(self.input, str):
            return [InputItem(role="user", content=self.input)]
        return self.input

    def messages(self) -> list[dict[str, Any]]:
        """The messages of the input; 400 by its place for what is none."""
        return [item.message(f"input[{index}]") for index, item in enumerate(self.items())]

    def conversation(self, messages: tuple[dict[str, Any], ...]) -> Conversation:
        """What is to be answered, out of all messages up to now."""
        system = [] if self.instructions is None else [{"role": "system", "content": self.instructions}]
        return Conversation(
            messages=[*system, *messages],
            thinks=thinks(self.model_extra),
            parse_special=bool(self.parse_special),
            param="input",
        )
