"""The body of llama.cpp's `/infill`."""

from dataclasses import replace
from typing import Annotated, Any, ClassVar

from pydantic import Field

from ruvllm.params import GenerateParams
from ruvllm.serve.errors import ApiError
from ruvllm.serve.schemas.base import Body, Entries, Finite
from ruvllm.serve.schemas.llama_sampling import LlamaSampling, length
from ruvllm.serve.schemas.shapes import AskedShape, JsonSchema, shape_of_fields
from ruvllm.text.infill import Infill

__all__ = ["InfillRequest"]

MAX_FILES = 1024
MAX_FIELDS = 64
# What a sampler does that a list leaves out: nothing.
_OFF: dict[str, dict[str, Any]] = {
    "penalties": {"repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0},
    "dry": {"dry": None},
    "top_n_sigma": {"top_n_sigma": 0.0},
    "top_k": {"top_k": 0},
    "typical_p": {"typical_p": 1.0},
    "top_p": {"top_p": 1.0},
    "min_p": {"min_p": 0.0},
    "xtc": {"xtc": None},
    "temperature": {"temperature": 1.0, "dynamic_temperature": None},
}
# Names of llama.cpp: its samplers, one of which has two, and one of its own.
_SAMPLERS = {*_OFF, "typ_p", "infill"}


class InfillFile(Body):
    """Another file that belongs to the text around the cursor."""

    text: str
    filename: str | None = None
    accepted: ClassVar[frozenset[str]] = frozenset({"time"})


class InfillRequest(LlamaSampling):
    """What stands before and after a cursor, and what is to be written there."""

    model: str | None = Field(None, description="A name that /v1/models lists; the first model without one.")
    input_prefix: str = ""
    input_suffix: str = ""
    input_extra: Annotated[list[InfillFile], Entries(MAX_FILES)] | None = Field(
        None, description="Other files, the most important last."
    )
    prompt: str = Field("", description="How the answer begins; it is not given back.")
    n_predict: int | None = Field(
        None, ge=-1, le=2**31 - 1, description="The longest answer; 0 only computes the prompt."
    )
    stream: bool | None = None
    samplers: Annotated[list[str], Entries(MAX_FIELDS)] | None = None
    n_indent: int | None = Field(
        None, ge=0, le=1024, description="Ends before a line that is indented by less."
    )
    t_max_predict_ms: Finite | None = Field(
        None, description="After so many milliseconds, and a line, the answer ends."
    )
    grammar: str | None = Field(None, description="What is written, in GBNF, as llama.cpp has it, or Lark.")
    json_schema: JsonSchema | None = None
    response_fields: Annotated[list[str], Entries(MAX_FIELDS)] | None = Field(
        None, description="Give these fields alone, as timings/prompt_n."
    )

    defaults: ClassVar[dict[str, Any]] = {"temperature": 0.8, "top_k": 40, "top_p": 0.95, "min_p": 0.05}
    # A prompt is cached by itself, and never computed in part.
    accepted: ClassVar[frozenset[str]] = LlamaSampling.accepted | {"cache_prompt", "t_max_prompt_ms"}
    refused: ClassVar[dict[str, str]] = {
        **LlamaSampling.refused,
        "lora": "an adapter is asked for by its name, as the model",
        **dict.fromkeys(("n_probs", "id_slot", "logit_bias"), "it is not done in the middle of a text"),
    }

    def infill(self) -> Infill:
        """What is to be filled in."""
        files = [
            (file.filename or f"file{index}", file.text) for index, file in enumerate(self.input_extra or ())
        ]
        return Infill(prefix=self.input_prefix, suffix=self.input_suffix, extra=files, begun=self.prompt)

    def shape(self) -> AskedShape | None:
        """What is to be written must be; with `prompt` that is what follows it."""
        if self.makes_nothing:
            return None
        return shape_of_fields({"grammar": self.grammar, "json_schema": self.json_schema})

    @property
    def makes_nothing(self) -> bool:
        """Whether only the prompt is to be computed, for a later request."""
        return self.n_predict == 0

    def params(self, max_context: int) -> GenerateParams:
        """The engine's parameters; the sampler `infill` comes to the likeliest token."""
        longest = 1 if self.makes_nothing else length(self.n_predict, max_context)
        if self.samplers is None:
            return self.sampling(max_tokens=longest)
        for index, name in enumerate(self.samplers):
            if name not in _SAMPLERS:
                place = f"samplers[{index}]"
                message = f"{place} is {name[:40]!r}; there are {', '.join(sorted(_SAMPLERS))}"
                raise ApiError(400, message, code="invalid_value", param=place)
        named = {"typical_p" if name == "typ_p" else name for name in self.samplers}
        left_out: dict[str, Any] = {}
        for name, off in _OFF.items():
            if name not in named:
                left_out |= off
        if "infill" in self.samplers:
            left_out["temperature"] = 0.0
        return replace(self.sampling(max_tokens=longest), **left_out)
