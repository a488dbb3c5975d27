"""Answers that feedback may come for, by the ids that clients know them by.

In memory alone, each for its tenant, and bounded as all that is kept for tenants: see `Shelves`. Of an answer
it is kept from what prompt it was made and under what name the engine keeps its states, no text.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ruvllm.serve.errors import ApiError
from ruvllm.serve.models import ServedModel
from ruvllm.serve.shelves import Shelves

__all__ = ["GivenAnswer", "GivenAnswers", "name_of"]

MAX_ANSWERS = 10_000
MAX_BYTES = 64 * 1024 * 1024
# What one takes besides its prompt.
ANSWER_BYTES = 1024


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GivenAnswer:
    """One answer.

    Attributes:
        model: What made it.
        kept_as: What the engine calls it.
        prompt: The tokens before it.
    """

    model: ServedModel
    kept_as: str
    prompt: NDArray[np.uint32]


class GivenAnswers(Shelves[GivenAnswer]):
    """The answers of one server. Of the event loop's thread alone."""

    def __init__(self, max_answers: int = MAX_ANSWERS, max_bytes: int = MAX_BYTES) -> None:
        super().__init__(max_answers, max_bytes)

    def keep(
        self, tenant: str, answer: str, *, model: ServedModel, kept_as: str, prompt: Sequence[int]
    ) -> None:
        """Keep one; those of the tenant that holds the most make room."""
        tokens = np.array(prompt, np.uint32)
        given = GivenAnswer(model=model, kept_as=kept_as, prompt=tokens)
        self.put(tenant, answer, given, ANSWER_BYTES + tokens.nbytes)

    def find(self, tenant: str, answer: str) -> GivenAnswer:
        """The answer that this tenant got under this name; 404 for any other, another tenant's too."""
        found = self.take(tenant, answer)
        if found is None:
            message = (
                f"there is no answer {answer[:100]!r} to give feedback on: it was given by nobody here, to "
                "another key, before learning was on, or too many answers ago"
            )
            raise ApiError(404, message, code="completion_not_found", param="completion_id")
        return found


def name_of(answer_id: str, index: int) -> str:
    """What one of the answers to a request is called."""
    return f"{answer_id}#{index}" if index else answer_id
