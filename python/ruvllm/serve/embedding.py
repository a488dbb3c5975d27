"""Texts on their way to vectors, in whatever API they came: counted, bounded, computed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request

from ruvllm.serve.asked_model import AskedModel
from ruvllm.serve.errors import ApiError
from ruvllm.serve.evaluating import evaluated
from ruvllm.serve.generation import gather_in_turn
from ruvllm.serve.prompts import PromptField, tokens_of
from ruvllm.serve.server import count_answers, errand_of, server_of, terms_of

__all__ = ["Embedded", "embedded"]

# A value of a vector is written in the time in which so many characters become tokens.
VALUE_SIZE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """Vectors at unit length, in the order of their texts.

    Attributes:
        vectors: One for each text.
        num_tokens: Tokens of all texts.
        size: How long they take to be written, in the unit of `off_loop.AT_ONCE`.
    """

    vectors: Sequence[NDArray[np.float32]]
    num_tokens: int
    size: int


async def embedded(
    request: Request,
    model: AskedModel,
    inputs: Sequence[str | list[int]],
    prompt_field: PromptField,
    *,
    dimensions: int | None = None,
) -> Embedded:
    """The vectors of texts, unless their client leaves before; 400 by the field where they cannot be."""
    server, errand = server_of(request), errand_of(request)
    if len(inputs) > server.settings.max_inputs:
        message = (
            f"{prompt_field.name} has {len(inputs)} texts; at most {server.settings.max_inputs} are allowed"
        )
        raise ApiError(400, message, code="invalid_value", param=prompt_field.name)
    count_answers(request, len(inputs))
    server.metrics.asked(model)
    size = model.llm.model_info.hidden_size
    if dimensions is not None and dimensions > size:
        message = f"dimensions is {dimensions}; this model's vectors have {size}"
        raise ApiError(400, message, code="invalid_value", param="dimensions")
    tokens = await tokens_of(errand, model, inputs, prompt_field)
    num_tokens = sum(len(one) for one in tokens)
    terms = terms_of(request, model)

    async def work() -> list[NDArray[np.float32]]:
        engine = await model.ready()
        return await gather_in_turn(engine.on(terms).embed(one) for one in tokens)

    vectors = await evaluated(request, model, num_tokens, work())
    return Embedded(
        vectors=[_shortened(vector, dimensions) for vector in vectors],
        num_tokens=num_tokens,
        size=VALUE_SIZE * size * len(vectors),
    )


def _shortened(vector: NDArray[np.float32], dimensions: int | None) -> NDArray[np.float32]:
    """The vector's first values, at unit length again."""
    if dimensions is None:
        return vector
    vector = vector[:dimensions]
    length = float(np.linalg.norm(vector))
    return vector / length if length else vector
