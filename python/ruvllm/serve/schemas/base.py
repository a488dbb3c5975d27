"""What all bodies share: strict types, sampling, and fields that are known and not done here."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema, PydanticKnownError, core_schema

from ruvllm.params import MAX_LOGPROBS, GenerateParams
from ruvllm.samplers import under_llama_names
from ruvllm.serve.errors import ApiError, unsupported
from ruvllm.serve.schemas.refusals import ACCEPTED, REFUSED, is_harmless

__all__ = [
    "Body",
    "Entries",
    "Finite",
    "ParseSpecial",
    "SamplerFields",
    "SamplingFields",
    "StopTexts",
    "StreamOptions",
    "TextFields",
]

MAX_STOPS = 16
MAX_BIASES = 1024
# Whoever writes a body may say so: a prompt of /v1/completions can hold any token as it is.
ParseSpecial = Annotated[
    bool | None, Field(description="Take texts such as <|im_end|> in messages for control tokens.")
]
Finite = Annotated[float, Field(allow_inf_nan=False)]
LogprobCount = Annotated[int, Field(ge=0, le=MAX_LOGPROBS)]
_Bias = Annotated[Finite, Field(ge=-100, le=100)]
_TokenId = Annotated[int, Field(ge=0, lt=2**32)]
_StopText = Annotated[str, Field(min_length=1, max_length=1000)]


@dataclass(frozen=True, slots=True)
class Entries:
    """How many a list or an object of a body has, counted before any of them is looked at.

    The first wrong one of a list ends it: a body of nothing else would make an error for each of them.
    """

    most: int
    least: int = 0

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        bounds: dict[str, Any] = {"min_length": self.least, "max_length": self.most}
        schema: Any = {**handler(source), **bounds}
        if schema["type"] == "list":
            schema["fail_fast"] = True
        return core_schema.no_info_before_validator_function(self._count, schema)

    def _count(self, value: Any) -> Any:
        if isinstance(value, list | dict) and len(value) > self.most:
            kind = "List" if isinstance(value, list) else "Dictionary"
            counts = {"field_type": kind, "max_length": self.most, "actual_length": len(value)}
            raise PydanticKnownError("too_long", counts)
        return value


StopTexts = Annotated[list[_StopText], Entries(MAX_STOPS)]


class Body(BaseModel):
    """A request's body. Unknown fields pass, and are counted; known ones that are not done are refused."""

    model_config = ConfigDict(strict=True, extra="allow", protected_namespaces=())

    # Field to reason; a value that `refusals.is_harmless` knows is as if it were not there.
    refused: ClassVar[dict[str, str]] = {}
    # Fields that ask for nothing which would change an answer.
    accepted: ClassVar[frozenset[str]] = frozenset()

    def check_fields(self) -> int:
        """Refuse what is not done, here and in bodies inside; gives how many fields no API knows."""
        unknown = 0
        for name in type(self).model_fields:
            inner = getattr(self, name)
            if isinstance(inner, Body):
                unknown += _check_inner(name, inner)
        for name, value in (self.model_extra or {}).items():
            if name in self.refused:
                if not is_harmless(name, value):
                    raise unsupported(name, self.refused[name])
            elif name not in self.accepted:
                unknown += 1
        return unknown


def _check_inner(name: str, inner: Body) -> int:
    try:
        return inner.check_fields()
    except ApiError as error:
        raise unsupported(f"{name}.{error.param}", error.message.partition(": ")[2]) from None


class StreamOptions(Body):
    """How a stream reports."""

    include_usage: bool = False
    refused: ClassVar[dict[str, str]] = {"include_obfuscation": "streams are not padded"}


class SamplerFields(Body):
    """Samplers that OpenAI has not, under the names of llama.cpp; what is not said is off, or its default."""

    typical_p: Finite | None = Field(None, gt=0, le=1, description="1 keeps all tokens.")
    top_n_sigma: Finite | None = Field(None, ge=-1, le=100, description="0 and below keeps all tokens.")
    dry_multiplier: Finite | None = Field(None, ge=0, le=100, description="0 is off.")
    dry_base: Finite | None = Field(None, ge=1, le=100, description="1.75 by default.")
    dry_allowed_length: int | None = Field(None, ge=1, le=2**31 - 1, description="2 by default.")
    dry_penalty_last_n: int | None = Field(None, ge=-1, le=2**31 - 1, description="-1 is all; 0 is off.")
    dry_sequence_breakers: Annotated[list[_StopText], Entries(MAX_STOPS)] | None = Field(
        None, description="Texts that no repetition goes on across."
    )
    xtc_probability: Finite | None = Field(None, ge=0, le=1, description="0 is off.")
    xtc_threshold: Finite | None = Field(None, ge=0, le=1, description="0.1 by default.")
    dynatemp_range: Finite | None = Field(None, ge=0, le=100, description="0 is off.")
    dynatemp_exponent: Finite | None = Field(None, gt=0, le=100, description="1 by default.")
    mirostat: int | None = Field(None, ge=0, le=2, description="0 is off; of its versions there is 2.")
    mirostat_tau: Finite | None = Field(None, ge=0, le=100, description="Bits a token; 5 by default.")
    mirostat_eta: Finite | None = Field(None, ge=0, le=1, description="0.1 by default.")

    def check_fields(self) -> int:
        """The same, and refuse what is not done of these."""
        if self.mirostat == 1:
            raise unsupported("mirostat", "the second version takes its place: say 2")
        return super().check_fields()

    def sampler_params(self) -> dict[str, Any]:
        """The fields of `GenerateParams` that these come to."""
        return under_llama_names({name: getattr(self, name) for name in SamplerFields.model_fields})


class TextFields(SamplerFields):
    """How text is made, in every API that makes some; what is not said is OpenAI's default."""

    model: str = Field(description="A name that /v1/models lists.")
    stream: bool | None = Field(None, description="Answer with server-sent events.")
    temperature: Finite | None = Field(
        None, ge=0, le=2, description="0 takes the likeliest token; 1 by default."
    )
    top_p: Finite | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=-1, le=2**31 - 1, description="0 and -1 keep all tokens.")
    min_p: Finite | None = Field(None, ge=0, lt=1)
    repetition_penalty: Finite | None = Field(None, gt=0, le=10, description="1 changes nothing.")
    presence_penalty: Finite | None = Field(None, ge=-2, le=2)
    frequency_penalty: Finite | None = Field(None, ge=-2, le=2)
    logit_bias: Annotated[dict[str, _Bias], Entries(MAX_BIASES)] | None = Field(
        None, description="By token id."
    )
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    ignore_eos: bool | None = Field(None, description="Goes on past the model's end; for measurements.")
    cache_prefix: bool | None = Field(None, description="False neither uses nor fills the prefix cache.")
    speculate: bool | None = Field(None, description="False guesses no tokens; they are the same either way.")
    priority: int | None = Field(None, ge=-1000, le=1000, description="Higher ones go first among one's own.")

    accepted: ClassVar[frozenset[str]] = ACCEPTED
    refused: ClassVar[dict[str, str]] = REFUSED

    def token_biases(self, vocab_size: int) -> dict[int, float]:
        """`logit_bias` by numbers; 400 where a key is no token id."""
        biases = {}
        for key, value in (self.logit_bias or {}).items():
            if not key.isascii() or not key.isdecimal() or not int(key[:20]) < vocab_size:
                message = (
                    f"logit_bias has the key {key[:40]!r}; keys are token ids from 0 to {vocab_size - 1}"
                )
                raise ApiError(400, message, code="invalid_value", param="logit_bias")
            biases[int(key)] = value
        return biases

    def stops(self) -> tuple[str, ...]:
        """Texts that end an answer."""
        return ()

    def bounds(self) -> dict[str, Any]:
        """What else ends an answer, or must not be in it."""
        return {}

    def thought_limit(self) -> int | None:
        """How many tokens a model that thinks first may think."""
        return None

    def predicted(self) -> str | None:
        """What much of the answer may be like."""
        return None

    def params(self, *, max_tokens: int, vocab_size: int, logprobs: int | None) -> GenerateParams:
        """The engine's parameters; OpenAI's defaults where nothing was said."""

        def chosen(value: float | None, default: float) -> float:
            return default if value is None else value

        return GenerateParams(
            max_tokens=max_tokens,
            temperature=chosen(self.temperature, 1.0),
            top_p=chosen(self.top_p, 1.0),
            top_k=max(0, self.top_k or 0),
            min_p=chosen(self.min_p, 0.0),
            **self.sampler_params(),
            repetition_penalty=chosen(self.repetition_penalty, 1.0),
            presence_penalty=chosen(self.presence_penalty, 0.0),
            frequency_penalty=chosen(self.frequency_penalty, 0.0),
            logit_bias=self.token_biases(vocab_size),
            stop_sequences=self.stops(),
            seed=None if self.seed is None else self.seed % 2**64,
            logprobs=logprobs,
            ignore_eos=bool(self.ignore_eos),
            cache_prefix=self.cache_prefix is not False,
            thinking_tokens=self.thought_limit(),
            speculate=self.speculate is not False,
            prediction=self.predicted(),
            **self.bounds(),
        )


class SamplingFields(TextFields):
    """What chat and completions have besides: several answers, stop sequences, how a stream reports."""

    stream_options: StreamOptions | None = None
    return_progress: bool | None = Field(
        None, description="Have a stream tell how far its prompt is read, as prompt_progress."
    )
    n: int | None = Field(None, ge=1, description="So many answers.")
    stop: str | StopTexts | None = None
    stop_token_ids: Annotated[list[_TokenId], Entries(MAX_STOPS)] | None = Field(
        None, description="Tokens that end the answer beside the model's own."
    )
    min_tokens: int | None = Field(None, ge=0, description="Before so many no token ends the answer.")
    bad_words: Annotated[list[_StopText], Entries(MAX_STOPS)] | None = Field(
        None, description="Texts that are nowhere in the answer."
    )
    prompt_logprobs: LogprobCount | None = Field(
        None, description="So many likeliest tokens at each place of the prompt, beside its own."
    )

    def check_fields(self) -> int:
        """The same, and refuse what does not fit a stream."""
        if self.stream and self.prompt_logprobs is not None:
            message = "prompt_logprobs cannot be streamed: leave stream or them out"
            raise ApiError(400, message, code="invalid_value", param="prompt_logprobs")
        return super().check_fields()

    def bounds(self) -> dict[str, Any]:
        """What else ends an answer, or must not be in it."""
        return {
            "stop_token_ids": self.stop_token_ids or (),
            "min_tokens": self.min_tokens or 0,
            "bad_words": self.bad_words or (),
        }

    def stops(self) -> tuple[str, ...]:
        """Texts that end an answer."""
        if not self.stop:
            return ()
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)

    def choices(self, most: int) -> int:
        """How many answers; 400 above `most`."""
        count = self.n or 1
        if count > most:
            raise ApiError(
                400, f"n is {count}; at most {most} are allowed here", code="invalid_value", param="n"
            )
        return count


Role = Literal["system", "developer", "user", "assistant", "tool", "function"]
