"""`POST /v1/embeddings`: the mean of a text's last hidden states, at unit length.

Any model gives these; only one that was trained for it gives good ones.
"""

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from numpy.typing import NDArray
from starlette.responses import Response

from ruvllm.serve.errors import ApiError
from ruvllm.serve.evaluating import evaluated
from ruvllm.serve.generation import gather_in_turn
from ruvllm.serve.json_answer import answer
from ruvllm.serve.json_body import JsonRoute
from ruvllm.serve.prompts import PromptField, tokens_of
from ruvllm.serve.schemas.completions import prompts_of
from ruvllm.serve.schemas.embeddings import EmbeddingRequest
from ruvllm.serve.server import count_answers, errand_of, server_of, terms_of

__all__ = ["router"]

router = APIRouter(route_class=JsonRoute, tags=["embeddings"])

_INPUT = PromptField(name="input", if_empty="a text of input is empty")
# A value of a vector is written in the time in which so many characters become tokens.
VALUE_SIZE = 4


@router.post("/v1/embeddings", response_model=None)
async def embeddings(body: EmbeddingRequest, request: Request) -> Response:
    """Give a vector for each text."""
    server, errand = server_of(request), errand_of(request)
    model = await server.model_for(request, body)
    inputs = prompts_of(body.input)
    if len(inputs) > server.settings.max_inputs:
        message = f"input has {len(inputs)} texts; at most {server.settings.max_inputs} are allowed"
        raise ApiError(400, message, code="invalid_value", param="input")
    count_answers(request, len(inputs))
    server.metrics.asked(model)
    size = model.llm.model_info.hidden_size
    if body.dimensions is not None and body.dimensions > size:
        message = f"dimensions is {body.dimensions}; this model's vectors have {size}"
        raise ApiError(400, message, code="invalid_value", param="dimensions")
    tokens = await tokens_of(errand, model, inputs, _INPUT)
    num_tokens = sum(len(one) for one in tokens)
    terms = terms_of(request, model)

    async def work() -> list[NDArray[np.float32]]:
        engine = await model.ready()
        return await gather_in_turn(engine.on(terms).embed(one) for one in tokens)

    vectors = await evaluated(request, model, num_tokens, work())
    usage = {"prompt_tokens": num_tokens, "total_tokens": num_tokens}

    def whole() -> dict[str, Any]:
        return {"object": "list", "data": _data(body, vectors), "model": model.name, "usage": usage}

    return await answer(errand, VALUE_SIZE * size * len(vectors), whole)


def _data(body: EmbeddingRequest, vectors: Sequence[NDArray[np.float32]]) -> list[dict[str, Any]]:
    return [
        {"object": "embedding", "index": index, "embedding": _encoded(body, vector)}
        for index, vector in enumerate(vectors)
    ]


def _encoded(body: EmbeddingRequest, vector: NDArray[np.float32]) -> Any:
    if body.dimensions is not None:
        vector = vector[: body.dimensions]
        length = float(np.linalg.norm(vector))
        vector = vector / length if length else vector
    if body.encoding_format == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")
    return vector.astype(float).tolist()
