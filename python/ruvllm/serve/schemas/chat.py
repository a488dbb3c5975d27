"""The body of `/v1/chat/completions`, and its messages."""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, ClassVar, Literal, Protocol

from pydantic import Field

from ruvllm.serve.conversation import MESSAGE_SIZE, Conversation
from ruvllm.serve.errors import ApiError, unsupported
from ruvllm.serve.schemas.base import Body, Entries, LogprobCount, ParseSpecial, Role
from ruvllm.serve.schemas.calls import CalledTools, CallHistory, CallId, call_message
from ruvllm.serve.schemas.refusals import SHAPES, refused_beside
from ruvllm.serve.schemas.shapes import ShapedFields
from ruvllm.serve.schemas.template_variables import TemplateVariables, variables_of
from ruvllm.serve.schemas.thinking import Effort, ReasoningConfig, ThinkingConfig, ThoughtLimit, effort_of
from ruvllm.serve.schemas.tools import Choice, Tools, chat_tools
from ruvllm.serve.tool_use import ToolUse

__all__ = [
    "ChatMessage",
    "ChatRequest",
    "Content",
    "ContentPart",
    "check_part",
    "goes_on",
    "messages_size",
    "plain_message",
    "plain_messages",
    "plain_text",
]

MAX_MESSAGES = 4096
MAX_PARTS = 4096
# Characters of a prediction; what is behind them is not guessed.
MAX_PREDICTION = 100_000


class ContentPart(Body):
    """A piece of a message; only text is understood."""

    type: str
    text: str | None = None
    accepted: ClassVar[frozenset[str]] = frozenset({"cache_control", "citations", "annotations"})


Content = str | Annotated[list[ContentPart], Entries(MAX_PARTS)]
"""What a message says, in one piece or in several."""


class Prediction(Body):
    """What much of the answer may be like, as OpenAI has it."""

    type: Literal["content"]
    content: Content


class HasContent(Protocol):
    """Any API's message."""

    @property
    def content(self) -> str | Sequence[Any] | None:
        """What it says."""


class ChatMessage(Body):
    """One message."""

    role: Role
    content: Content | None = None
    name: str | None = Field(None, max_length=256)
    tool_calls: CalledTools | None = None
    tool_call_id: CallId | None = None
    reasoning_content: str | None = Field(None, description="What was thought before it.")
    reasoning: str | None = Field(None, description="Another name of reasoning_content.")
    refused: ClassVar[dict[str, str]] = {
        "function_call": "give tool_calls, which came in its place",
        "audio": "the model reads text only",
    }
    accepted: ClassVar[frozenset[str]] = frozenset({"refusal", "annotations", "reasoning_details"})


class ChatRequest(ShapedFields):
    """A conversation that is to be answered."""

    messages: Annotated[list[ChatMessage], Entries(MAX_MESSAGES, least=1)]
    max_tokens: int | None = Field(None, ge=1, description="Older name of max_completion_tokens.")
    max_completion_tokens: int | None = Field(None, ge=1, description="The longest answer.")
    logprobs: bool | None = None
    top_logprobs: LogprobCount | None = None
    parse_special: ParseSpecial = None
    tools: Tools | None = None
    tool_choice: Choice | None = Field(None, description="'auto', 'none', or which tools are allowed.")
    parallel_tool_calls: bool | None = Field(None, description="False: an answer has one call at most.")
    reasoning_effort: Effort | None = None
    reasoning: ReasoningConfig | None = None
    thinking: ThinkingConfig | None = None
    thinking_token_budget: ThoughtLimit | None = None
    prediction: Prediction | None = Field(None, description="What much of the answer may be like.")
    chat_template_kwargs: TemplateVariables | None = None

    refused: ClassVar[dict[str, str]] = refused_beside(
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "reasoning_effort",
        "reasoning",
        "prediction",
        "prompt_logprobs",
        "chat_template_kwargs",
        *SHAPES,
    )

    def num_logprobs(self) -> int | None:
        """How many likeliest tokens to report; `None` for no logprobs at all."""
        if self.top_logprobs and not self.logprobs:
            message = "top_logprobs needs logprobs to be true"
            raise ApiError(400, message, code="invalid_value", param="top_logprobs")
        return (self.top_logprobs or 0) if self.logprobs else None

    def use(self) -> ToolUse:
        """What is said of tools."""
        parallel = self.parallel_tool_calls is not False
        return chat_tools(self.tools or (), self.tool_choice, parallel=parallel)

    def effort(self) -> Effort | None:
        """How hard the model is to think, where that is said."""
        asked = self.reasoning_effort or (self.reasoning.effort if self.reasoning else None)
        return effort_of(self.thinking, asked)

    def thought_limit(self) -> int | None:
        """How many tokens a model that thinks first may think."""
        if self.reasoning is not None and self.reasoning.max_tokens is not None:
            return self.reasoning.max_tokens
        budget = self.thinking.budget_tokens if self.thinking else None
        return self.thinking_token_budget if budget is None else budget

    def predicted(self) -> str | None:
        """What much of the answer may be like; no longer than takes no time to read."""
        if self.prediction is None:
            return None
        return plain_text(self.prediction.content, "prediction.content")[:MAX_PREDICTION]

    def conversation(self) -> Conversation:
        """What is to be answered; a last message of the assistant's is the beginning of the answer."""
        messages = plain_messages(self.messages)
        return Conversation(
            messages=messages,
            continues_last=goes_on(messages[-1]),
            use=self.use(),
            effort=self.effort(),
            variables=variables_of(self.chat_template_kwargs),
            parse_special=bool(self.parse_special),
        )


def goes_on(last: dict[str, Any]) -> bool:
    """Whether a last message is the beginning of the answer."""
    return last["role"] == "assistant" and bool(last["content"].strip()) and not last.get("tool_calls")


def messages_size(messages: Iterable["HasContent"]) -> int:
    """How long `plain_messages` takes, in the unit of `off_loop.AT_ONCE`."""
    return MESSAGE_SIZE * sum(map(_size, messages))


def _size(message: "HasContent") -> int:
    parts = len(message.content) if isinstance(message.content, list) else 1
    return parts + len(getattr(message, "tool_calls", None) or ())


def plain_messages(messages: Sequence[ChatMessage]) -> list[dict[str, Any]]:
    """Messages with texts as contents; 400 by its place for what a text model cannot read."""
    history = CallHistory()
    return [plain_message(message, f"messages[{index}]", history) for index, message in enumerate(messages)]


def plain_message(message: ChatMessage, where: str, history: CallHistory) -> dict[str, Any]:
    """One message as a template takes it; `where` names it in an error."""
    check_part(message, where)
    if message.role == "function":
        raise unsupported(f"{where}.role", "results of tools have the role 'tool'")
    if message.role == "tool":
        content = plain_text(message.content, f"{where}.content")
        return history.result(message.tool_call_id, content, f"{where}.tool_call_id")
    if message.tool_calls and message.role != "assistant":
        raise unsupported(f"{where}.tool_calls", "only an assistant's message calls tools")
    if message.content is None and message.role != "assistant":
        raise ApiError(400, f"{where}.content is missing", code="invalid_value", param=f"{where}.content")
    # Few templates know `developer`; it is what `system` was called before.
    plain: dict[str, Any] = {"role": "system" if message.role == "developer" else message.role}
    plain["content"] = plain_text(message.content, f"{where}.content")
    if message.name is not None:
        plain["name"] = message.name
    if message.role == "assistant":
        plain |= _thoughts_and_calls(message, history)
    return plain


def check_part(part: Body, where: str) -> None:
    """Refuse by its place what is not done in a part of a body."""
    try:
        part.check_fields()
    except ApiError as error:
        raise unsupported(f"{where}.{error.param}", error.message.partition(": ")[2]) from None


def _thoughts_and_calls(message: ChatMessage, history: CallHistory) -> dict[str, Any]:
    """What an assistant's message has beside its content; the template decides what it tells of thoughts."""
    more: dict[str, Any] = {}
    if thoughts := message.reasoning_content or message.reasoning:
        more["reasoning_content"] = thoughts
    if message.tool_calls:
        for call in message.tool_calls:
            history.made(call.id, call.function.name)
        more["tool_calls"] = [
            call_message(call.id, call.function.name, call.function.arguments) for call in message.tool_calls
        ]
    return more


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
