"""`POST /v1/embeddings`: the mean of a text's last hidden states, at unit length.

Any model gives these; only one that was trained for it gives good ones.
"""

import base64
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from numpy.typing import NDArray
from starlette.responses import Response

from ruvllm.serve.embedding import embedded
from ruvllm.serve.json_answer import answer
from ruvllm.serve.json_body import JsonRoute
from ruvllm.serve.prompts import PromptField
from ruvllm.serve.schemas.completions import prompts_of
from ruvllm.serve.schemas.embeddings import EmbeddingRequest
from ruvllm.serve.server import errand_of, server_of

__all__ = ["router"]

router = APIRouter(route_class=JsonRoute, tags=["embeddings"])

_INPUT = PromptField(name="input", if_empty="a text of input is empty")


@router.post("/v1/embeddings", response_model=None)
async def embeddings(body: EmbeddingRequest, request: Request) -> Response:
    """Give a vector for each text."""
    model = await server_of(request).model_for(request, body)
    found = await embedded(request, model, prompts_of(body.input), _INPUT, dimensions=body.dimensions)
    usage = {"prompt_tokens": found.num_tokens, "total_tokens": found.num_tokens}

    def whole() -> dict[str, Any]:
        data = [
            {"object": "embedding", "index": index, "embedding": _encoded(body, vector)}
            for index, vector in enumerate(found.vectors)
        ]
        return {"object": "list", "data": data, "model": model.name, "usage": usage}

    return await answer(errand_of(request), found.size, whole)


def _encoded(body: EmbeddingRequest, vector: NDArray[np.float32]) -> Any:
    if body.encoding_format == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")
    return vector.astype(float).tolist()
