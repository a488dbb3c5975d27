"""Bodies that say what an answer was worth, and that undo what was learned of it."""

from typing import Annotated

from pydantic import Field

from ruvllm.serve.errors import ApiError
from ruvllm.serve.schemas.base import Body, Finite

__all__ = ["ConsolidateRequest", "FeedbackRequest", "RollbackRequest", "TrainRequest"]

MAX_CORRECTION = 100_000
# Generations are numbered.
Generation = Annotated[int, Field(ge=0, lt=10**10)]


class FeedbackRequest(Body):
    """What is said of an answer: a number, or what would have been right."""

    completion_id: str = Field(min_length=1, max_length=200, description="The `id` of the answer.")
    index: int | None = Field(None, ge=0, le=10_000, description="Which of several choices; the first.")
    feedback: Finite | None = Field(None, ge=-1, le=1, description="From -1, bad, to 1, good.")
    corrected: str | None = Field(
        None, min_length=1, max_length=MAX_CORRECTION, description="What the answer should have been."
    )

    def check(self) -> None:
        """400 unless exactly one thing is said."""
        if (self.feedback is None) == (self.corrected is None):
            raise ApiError(400, "give either feedback or corrected", code="invalid_value", param="feedback")


class ConsolidateRequest(Body):
    """Where what was learned is to be made one."""

    model: str | None = Field(None, description="On which model; the first where it is left out.")


class TrainRequest(ConsolidateRequest):
    """Whose answers are to be trained on."""

    tenant: str | None = Field(
        None, min_length=1, max_length=300, description="Whose; the key's own where it is left out."
    )


class RollbackRequest(Body):
    """What is to be undone."""

    model: str | None = Field(None, description="On which model; the first where it is left out.")
    steps: int | None = Field(None, ge=1, le=10_000, description="How many changes; one.")
    generation: Generation | None = Field(
        None, description="Only where this is still the present generation; else 409."
    )
