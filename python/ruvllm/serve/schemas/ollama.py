"""The bodies of Ollama's API."""

import json
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from ruvllm.params import GenerateParams
from ruvllm.serve.conversation import Conversation
from ruvllm.serve.errors import ApiError, unsupported
from ruvllm.serve.schemas.base import Body, Entries, LogprobCount
from ruvllm.serve.schemas.calls import MAX_CALLS, CallHistory, CallId, ToolName, call_message
from ruvllm.serve.schemas.chat import MAX_MESSAGES, check_part, goes_on
from ruvllm.serve.schemas.keep_alive import KeepAlive, kept_seconds
from ruvllm.serve.schemas.llama_sampling import LlamaSampling, length
from ruvllm.serve.schemas.shapes import AskedShape, shape_of_schema
from ruvllm.serve.schemas.thinking import Effort
from ruvllm.serve.schemas.tools import Tools, chat_tools
from ruvllm.text.infill import Infill

__all__ = [
    "OllamaChat",
    "OllamaEmbed",
    "OllamaEmbeddings",
    "OllamaGenerate",
    "OllamaGeneration",
    "OllamaShow",
]

# How a model is loaded and held is the operator's; a context that is full is never shifted.
_LOADING = """
    numa num_ctx num_batch num_gpu main_gpu low_vram f16_kv logits_all use_mmap use_mlock num_thread num_keep
    num_gqa rope_frequency_base rope_frequency_scale
"""


class OllamaOptions(LlamaSampling):
    """How text is made; what is not said is Ollama's default, but for repetitions: they cost nothing."""

    num_predict: int | None = Field(
        None,
        ge=-2,
        le=2**31 - 1,
        description="The longest answer; without one, or below 1, the context's end.",
    )

    accepted: ClassVar[frozenset[str]] = LlamaSampling.accepted | frozenset(_LOADING.split())
    refused: ClassVar[dict[str, str]] = {
        **LlamaSampling.refused,
        **dict.fromkeys(("vocab_only", "embedding_only"), "a model is loaded whole"),
    }


class OllamaGeneration(Body):
    """What both ways to ask for text have in common."""

    model: str = Field(min_length=1, description="A name that /api/tags lists.")
    stream: bool | None = Field(None, description="Answer with lines of JSON, unless it is false.")
    options: OllamaOptions | None = None
    keep_alive: KeepAlive | None = None
    format: Literal["", "json"] | dict[str, Any] | None = Field(None, description="'json', or a JSON schema.")
    think: bool | Literal["low", "medium", "high"] | None = None
    logprobs: bool | None = None
    top_logprobs: LogprobCount | None = None

    # Nothing is cut or shifted, whatever is asked for: what does not fit is a 400.
    accepted: ClassVar[frozenset[str]] = frozenset({"truncate", "shift"})
    refused: ClassVar[dict[str, str]] = {
        "images": "the model reads text only",
        "template": "a prompt is written by the model's own template; send it raw to write it otherwise",
    }

    def params(self, max_context: int) -> GenerateParams:
        """The engine's parameters."""
        if self.top_logprobs and not self.logprobs:
            message = "top_logprobs needs logprobs to be true"
            raise ApiError(400, message, code="invalid_value", param="top_logprobs")
        logprobs = (self.top_logprobs or 0) if self.logprobs else None
        options = self.options or OllamaOptions.model_validate({})
        return options.sampling(
            max_tokens=length(options.num_predict, max_context), logprobs=logprobs, place="options."
        )

    def shape(self) -> AskedShape | None:
        """What the answer must be."""
        if not self.format and self.format != {}:
            return None
        return shape_of_schema(None if self.format == "json" else self.format, "format")

    def effort(self) -> Effort | None:
        """How hard the model is to think, where that is said."""
        if isinstance(self.think, bool):
            return "medium" if self.think else "none"
        return self.think

    @property
    def asks_for_text(self) -> bool:
        """Whether there is anything to answer; else it is about the model alone."""
        raise NotImplementedError

    @property
    def only_gives_up(self) -> bool:
        """Whether it asks for nothing but that the model is given up."""
        return not self.asks_for_text and self.keep_alive is not None and kept_seconds(self.keep_alive) == 0


class OllamaFunction(Body):
    """The function of a call."""

    name: ToolName
    arguments: dict[str, Any] | str = Field(default_factory=dict)
    accepted: ClassVar[frozenset[str]] = frozenset({"index", "description"})

    def as_text(self) -> str:
        """The arguments as JSON; a text is told as it is."""
        if isinstance(self.arguments, str):
            return self.arguments
        return json.dumps(self.arguments, ensure_ascii=False)


class OllamaCall(Body):
    """A call that an assistant's message has made; where it has no id, it is known by its place."""

    id: CallId | None = None
    function: OllamaFunction
    accepted: ClassVar[frozenset[str]] = frozenset({"type"})


class OllamaMessage(Body):
    """One message."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str | None = None
    thinking: str | None = Field(None, description="What was thought before it.")
    tool_calls: Annotated[list[OllamaCall], Entries(MAX_CALLS)] | None = None
    tool_name: str | None = Field(None, max_length=256, description="Which tool a result is of.")
    tool_call_id: CallId | None = None
    name: str | None = Field(None, max_length=256, description="Older name of tool_name.")
    refused: ClassVar[dict[str, str]] = {"images": "the model reads text only"}


class OllamaChat(OllamaGeneration):
    """A conversation that is to be answered; without messages the model is only loaded."""

    messages: Annotated[list[OllamaMessage], Entries(MAX_MESSAGES)] | None = None
    tools: Tools | None = None

    @property
    def asks_for_text(self) -> bool:
        """Whether there is anything to answer."""
        return bool(self.messages)

    def conversation(self) -> Conversation:
        """What is to be answered; a last message of the assistant's is the beginning of the answer."""
        history = _History()
        messages = [
            history.told(message, f"messages[{index}]") for index, message in enumerate(self.messages or ())
        ]
        return Conversation(
            messages=messages,
            continues_last=goes_on(messages[-1]),
            use=chat_tools(self.tools or (), None, parallel=True),
            effort=self.effort(),
        )


class OllamaGenerate(OllamaGeneration):
    """A prompt that is to be answered, or gone on from; without one the model is only loaded."""

    prompt: str | None = None
    suffix: str | None = Field(None, description="What stands after the answer: it is filled in between.")
    system: str | None = None
    raw: bool | None = Field(
        None, description="Go on from the prompt as it is, without the model's template."
    )

    refused: ClassVar[dict[str, str]] = {
        **OllamaGeneration.refused,
        "context": "send the conversation to /api/chat",
        **dict.fromkeys(("width", "height", "steps"), "the model makes text only"),
    }

    @property
    def asks_for_text(self) -> bool:
        """Whether there is anything to answer."""
        return bool(self.prompt or self.suffix)

    def infill(self) -> Infill | None:
        """What is to be filled in before `suffix`; nothing where there is no suffix."""
        if not self.suffix:
            return None
        if self.raw or self.system:
            name = "raw" if self.raw else "system"
            message = f"with a suffix the prompt is what stands before the answer: leave {name} out"
            raise ApiError(400, message, code="invalid_value", param=name)
        return Infill(prefix=self.prompt or "", suffix=self.suffix)

    def conversation(self) -> Conversation:
        """The prompt as a conversation, for the model's template."""
        messages = [{"role": "user", "content": self.prompt or ""}]
        if self.system:
            messages.insert(0, {"role": "system", "content": self.system})
        return Conversation(messages=messages, effort=self.effort(), param="prompt")

    def raw_prompt(self) -> str:
        """The prompt as it is; 400 where something is to be written around it."""
        if self.system:
            message = "a raw prompt has no system message: leave system or raw out"
            raise ApiError(400, message, code="invalid_value", param="system")
        return self.prompt or ""


class _History:
    """The messages of a conversation so far; calls that have no ids get some, and results theirs."""

    def __init__(self) -> None:
        self._calls = CallHistory()
        self._open: dict[str, str] = {}
        self._count = 0

    def told(self, message: OllamaMessage, where: str) -> dict[str, Any]:
        """One message as a template takes it."""
        check_part(message, where)
        content = message.content or ""
        if message.role == "tool":
            return self._calls.result(self._call_of(message, where), content, f"{where}.tool_call_id")
        if message.tool_calls and message.role != "assistant":
            raise unsupported(f"{where}.tool_calls", "only an assistant's message calls tools")
        plain: dict[str, Any] = {"role": message.role, "content": content}
        if message.role == "assistant" and message.thinking:
            plain["reasoning_content"] = message.thinking
        if message.tool_calls:
            plain["tool_calls"] = [self._made(call) for call in message.tool_calls]
        return plain

    def _made(self, call: OllamaCall) -> dict[str, Any]:
        call_id = call.id or f"call_{self._count}"
        self._count += 1
        self._calls.made(call_id, call.function.name)
        self._open[call_id] = call.function.name
        return call_message(call_id, call.function.name, call.function.as_text())

    def _call_of(self, message: OllamaMessage, where: str) -> str:
        """Which call a result is of: the one it names, else the first that has none yet."""
        name = message.tool_name or message.name
        call_id = message.tool_call_id
        if call_id is None:
            call_id = next((one for one, called in self._open.items() if name in (None, called)), None)
        if call_id is None:
            of = f" of {name[:100]!r}" if name else ""
            text = f"{where} is the result of a call, but no message before has a call{of} without one"
            raise ApiError(400, text, code="invalid_value", param=where)
        self._open.pop(call_id, None)
        return call_id


class OllamaEmbed(Body):
    """Texts that are to become vectors."""

    model: str = Field(min_length=1)
    input: str | Annotated[list[str], Entries(4096)]
    dimensions: int | None = Field(None, ge=0, description="Keep so many values, at unit length again.")
    options: OllamaOptions | None = None
    keep_alive: KeepAlive | None = None
    accepted: ClassVar[frozenset[str]] = frozenset({"truncate"})


class OllamaEmbeddings(Body):
    """A text that is to become a vector; the older way to say it."""

    model: str = Field(min_length=1)
    prompt: str
    options: OllamaOptions | None = None
    keep_alive: KeepAlive | None = None


class OllamaModelNamed(Body):
    """A request about a model."""

    model: str | None = Field(None, min_length=1)
    name: str | None = Field(None, min_length=1, description="Older name of model.")

    @model_validator(mode="after")
    def _named(self) -> "OllamaModelNamed":
        self.model = self.model or self.name
        return self

    def named(self) -> str:
        """Its name; 400 without one."""
        if self.model is None:
            raise ApiError(400, "model is missing", code="missing_required_parameter", param="model")
        return self.model


class OllamaShow(OllamaModelNamed):
    """A model that is to be described."""

    accepted: ClassVar[frozenset[str]] = frozenset({"verbose"})

    refused: ClassVar[dict[str, str]] = dict.fromkeys(
        ("system", "template", "options"), "a model is described as it is served"
    )


class OllamaPull(OllamaModelNamed):
    """A model that is to be fetched."""

    stream: bool | None = Field(None, description="Tell how it goes in lines of JSON, unless it is false.")
    refused: ClassVar[dict[str, str]] = {"insecure": "certificates are always checked"}


class OllamaDelete(OllamaModelNamed):
    """A model that is to be deleted."""
