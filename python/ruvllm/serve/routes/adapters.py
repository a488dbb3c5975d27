"""`/v1/lora_adapters`, and vLLM's `/v1/load_lora_adapter` and `/v1/unload_lora_adapter`.

Adapters are the operator's: every key may ask for them, and only admin keys change which there are.
"""

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import PlainTextResponse, Response

from ruvllm.errors import NotFoundError
from ruvllm.serve.errors import ApiError, api_error
from ruvllm.serve.json_body import JsonRoute
from ruvllm.serve.models import ServedModel
from ruvllm.serve.schemas.adapters import LoadAdapterRequest, UnloadAdapterRequest
from ruvllm.serve.served_models import ServedModels
from ruvllm.serve.server import admin, note, server_of

__all__ = ["router"]

router = APIRouter(route_class=JsonRoute, tags=["adapters"])


@router.get("/v1/lora_adapters", response_model=None)
async def list_adapters(request: Request) -> dict[str, Any]:
    """List the adapters that requests may ask for, of every model that is loaded."""
    models = server_of(request).models
    data = [
        {
            "id": models.adapter_id(model, one.name),
            "object": "lora_adapter",
            "name": one.name,
            "base": model.name,
            "generation": one.generation,
            "rank": one.rank,
            "modules": list(one.modules),
            "bytes": one.num_bytes,
        }
        for model in models
        for one in model.adapters()
    ]
    return {"object": "list", "data": data}


@router.post("/v1/load_lora_adapter", response_model=None)
async def load_adapter(body: LoadAdapterRequest, request: Request) -> Response:
    """Load an adapter, which takes a while, for which no other request waits; or replace one."""
    admin(request)
    server = server_of(request)
    body.check_fields()
    name = body.lora_name
    if server.models.find(name) is not None:
        message = f"lora_name is {name[:100]!r}, which is a model's name"
        raise ApiError(400, message, code="invalid_value", param="lora_name")
    folder = await asyncio.to_thread(server.adapter_folders.find, body.lora_path)
    model = _model(server.models, body.model)
    engine = await server.engine_for(request, model)

    def load() -> None:
        replaces = bool(body.load_inplace) and model.has_adapter(name)
        (engine.adapters.replace if replaces else engine.adapters.load)(name, folder)

    # One at a time, in one thread: however many are asked for, other requests' work has its own.
    await server.loading_adapters.do(load, model.uses.one())
    note(request, adapter=name, generation=engine.adapters.info(name).generation[:16])
    return PlainTextResponse(f"Success: LoRA adapter '{name}' added successfully.")


@router.post("/v1/unload_lora_adapter", response_model=None)
async def unload_adapter(body: UnloadAdapterRequest, request: Request) -> Response:
    """Forget an adapter; requests that run keep it to their end."""
    admin(request)
    body.check_fields()
    server = server_of(request)
    models = server.models
    model = _model(models, body.model)
    if body.model is None:
        model = next((one for one in models if one.has_adapter(body.lora_name)), model)
    if not model.has_adapter(body.lora_name):
        message = f"there is no adapter {body.lora_name[:100]!r} of the model {model.name!r}"
        raise ApiError(404, message, code="not_found", param="lora_name")
    engine = await server.engine_for(request, model)
    try:
        engine.adapters.unload(body.lora_name)
    except NotFoundError as error:
        raise api_error(error, param="lora_name") from error
    return PlainTextResponse(f"Success: LoRA adapter '{body.lora_name}' removed successfully.")


def _model(models: ServedModels, name: str | None) -> ServedModel:
    model = models.first if name is None else models.find(name)
    if model is None:
        raise models.not_found(name or "")
    return model
