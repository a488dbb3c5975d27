"""Whether and how hard a model is to think before it answers, as each API says it."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ruvllm.serve.schemas.base import Body

__all__ = ["Effort", "ReasoningConfig", "ThinkingConfig", "ThoughtLimit", "effort_of"]

Effort = Annotated[
    Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"],
    Field(description="'none' answers at once; others are told to models whose template takes an effort."),
]


ThoughtLimit = Annotated[int, Field(ge=0, le=2**31 - 1, description="How many tokens it may think.")]


class ReasoningConfig(Body):
    """OpenAI's `reasoning`. What was thought is given whole, in place of a summary."""

    effort: Effort | None = None
    max_tokens: ThoughtLimit | None = None
    accepted: ClassVar[frozenset[str]] = frozenset({"summary", "generate_summary", "context"})
    refused: ClassVar[dict[str, str]] = {
        "exclude": "thoughts are always given, in a place of their own",
    }


class ThinkingConfig(Body):
    """Anthropic's `thinking`."""

    type: Literal["enabled", "disabled", "adaptive"]
    budget_tokens: int | None = Field(None, ge=1, le=2**31 - 1)
    display: Literal["summarized", "omitted"] | None = Field(
        None, description="'omitted' gives thoughts without their text."
    )


def effort_of(thinking: ThinkingConfig | None, effort: Effort | None) -> Effort | None:
    """What both fields of a message come to; turned off by either, it is off.

    >>> effort_of(ThinkingConfig(type="disabled"), "high")
    'none'
    """
    return "none" if thinking is not None and thinking.type == "disabled" else effort
