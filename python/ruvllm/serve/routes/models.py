"""`GET /v1/models` and `GET /v1/models/NAME`."""

from typing import Any

from fastapi import APIRouter, Request

from ruvllm.serve.models import ServedModel
from ruvllm.serve.server import server_of

__all__ = ["router"]

router = APIRouter(tags=["models"])


@router.get("/v1/models", response_model=None)
async def list_models(request: Request) -> dict[str, Any]:
    """List the models that requests may ask for."""
    return {"object": "list", "data": [_body(model) for model in server_of(request).models]}


@router.get("/v1/models/{model:path}", response_model=None)
async def retrieve_model(model: str, request: Request) -> dict[str, Any]:
    """Give one of them."""
    return _body(server_of(request).models.named(model))


def _body(model: ServedModel) -> dict[str, Any]:
    body: dict[str, Any] = {
        "id": model.name,
        "object": "model",
        "created": model.created,
        "owned_by": "ruvllm",
        "status": model.status,
    }
    if model.engine is not None:
        info = model.llm.model_info
        body |= {"max_model_len": info.max_context, "quantization": info.quantization}
        body |= {"architecture": info.architecture, "num_parameters": info.num_parameters}
    return body
