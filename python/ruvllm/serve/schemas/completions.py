"""The body of `/v1/completions`."""

from typing import ClassVar, cast

from pydantic import Field

from ruvllm.serve.errors import ApiError
from ruvllm.serve.schemas.base import LogprobCount
from ruvllm.serve.schemas.refusals import SHAPES, refused_beside
from ruvllm.serve.schemas.shapes import ShapedFields
from ruvllm.serve.schemas.token_ids import Prompts
from ruvllm.text.infill import Infill

__all__ = ["CompletionRequest", "prompts_of"]


class CompletionRequest(ShapedFields):
    """Texts, or token ids, that are to be continued."""

    prompt: Prompts = Field(description="A text, token ids, or a list of these.")
    max_tokens: int | None = Field(None, ge=0, description="The longest answer; 16 by default.")
    echo: bool | None = Field(None, description="Give the prompt back before its continuation.")
    logprobs: LogprobCount | None = Field(None, description="So many likeliest tokens at each place.")
    parse_special: bool | None = Field(
        None, description="False takes texts such as <|im_end|> for text, not for control tokens."
    )
    suffix: str | None = Field(None, description="What stands after the answer: it is filled in between.")
    best_of: int | None = Field(None, ge=1, description="Make so many, give the n likeliest by token.")

    refused: ClassVar[dict[str, str]] = refused_beside("prompt_logprobs", *SHAPES)

    def infills(self) -> list[Infill]:
        """What is to be filled in between the prompts and `suffix`; nothing where there is no suffix."""
        if not self.suffix:
            return []
        if self.echo:
            message = "a prompt that goes on to a suffix is not given back: leave echo out"
            raise ApiError(400, message, code="invalid_value", param="echo")
        if self.parse_special:
            message = "with a suffix all of a prompt is text: leave parse_special out"
            raise ApiError(400, message, code="invalid_value", param="parse_special")
        prompts = [prompt for prompt in prompts_of(self.prompt) if isinstance(prompt, str)]
        if not prompts:
            message = "with a suffix a prompt must be a text, not token ids"
            raise ApiError(400, message, code="invalid_value", param="prompt")
        return [Infill(prefix=prompt, suffix=self.suffix) for prompt in prompts]

    def candidates(self, most: int) -> tuple[int, int]:
        """How many answers to give, and out of how many."""
        wanted = self.choices(most)
        made = self.best_of or wanted
        if made > most or made < wanted:
            message = f"best_of is {made}; it must be from n, {wanted}, to {most}"
            raise ApiError(400, message, code="invalid_value", param="best_of")
        if made > wanted and self.stream:
            message = "best_of cannot be streamed: the best is known at the end"
            raise ApiError(400, message, code="invalid_value", param="best_of")
        return wanted, made


def prompts_of(given: str | list[str] | list[int] | list[list[int]]) -> list[str | list[int]]:
    """The prompts one by one."""
    if isinstance(given, str):
        return [given]
    if isinstance(given[0], int):
        return [given]
    return cast("list[str | list[int]]", given)
