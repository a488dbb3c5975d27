"""`GET /v1/models` and `GET /v1/models/NAME`; `/models` is the same, where llama.cpp's clients ask."""

from typing import Any

from fastapi import APIRouter, Request

from ruvllm.serve.model_states import pull_state, state_of
from ruvllm.serve.models import ServedModel
from ruvllm.serve.pulling import Pull
from ruvllm.serve.server import server_of

__all__ = ["router"]

router = APIRouter(tags=["models"])


@router.get("/models", response_model=None)
@router.get("/v1/models", response_model=None)
async def list_models(request: Request) -> dict[str, Any]:
    """List what requests may ask for: the models, then the adapters on them, whose `parent` these are.

    Each with its `status`. What is on its way here stands at the end, and is not here.
    """
    server = server_of(request)
    models = server.models
    adapters = [
        _adapter_body(models.adapter_id(model, one.name), model)
        for model in models
        for one in model.adapters()
    ]
    coming = [_coming(pull) for pull in server.pulls if models.find(pull.name) is None]
    return {"object": "list", "data": [*map(_body, models), *adapters, *coming]}


@router.get("/v1/models/{model:path}", response_model=None)
async def retrieve_model(model: str, request: Request) -> dict[str, Any]:
    """Give one of them."""
    models = server_of(request).models
    found, adapter = models.meant_by(model)
    if adapter is None:
        return _body(found)
    if not found.has_adapter(adapter):
        raise models.not_found(model)
    return _adapter_body(model, found)


def _body(model: ServedModel) -> dict[str, Any]:
    body: dict[str, Any] = {
        "id": model.name,
        "object": "model",
        "created": model.created,
        "owned_by": "ruvllm",
        "root": model.name,
        "parent": None,
        "status": state_of(model),
    }
    if model.engine is not None:
        info = model.llm.model_info
        body |= {"max_model_len": info.max_context, "quantization": info.quantization}
        body |= {"architecture": info.architecture, "num_parameters": info.num_parameters}
    return body


def _coming(pull: Pull) -> dict[str, Any]:
    body = {"id": pull.name, "object": "model", "created": pull.begun, "owned_by": "ruvllm"}
    return {**body, "root": pull.name, "parent": None, "is_here": False, "status": pull_state(pull)}


def _adapter_body(name: str, base: ServedModel) -> dict[str, Any]:
    return _body(base) | {"id": name, "parent": base.name}
