"""What Ollama's clients ask about the models and the server.

`/api/tags`, `/api/show`, `/api/ps`, `/api/version`; and `/api/pull` and `/api/delete`, for admin keys.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from ruvllm.llm import LLM
from ruvllm.serve.dialects import ollama_error
from ruvllm.serve.errors import ApiError
from ruvllm.serve.json_body import JsonRoute
from ruvllm.serve.model_management import LOOK_SECONDS, delete_model, fetch_model
from ruvllm.serve.models import ServedModel
from ruvllm.serve.ollama_parts import timestamp
from ruvllm.serve.pulling import Pull
from ruvllm.serve.schemas.ollama import OllamaDelete, OllamaPull, OllamaShow
from ruvllm.serve.served_models import LATEST
from ruvllm.serve.server import manager, note, server_of
from ruvllm.serve.sse import LineStream, line

__all__ = ["router"]

router = APIRouter(route_class=JsonRoute, tags=["ollama"])

# Clients look whether the server is new enough for what they use of it, and some go no further with an older
# one: VS Code's chat asks for 0.6.4, and `codex --oss` for 0.13.4, with which Ollama's /v1/responses began.
# That is here, and so is what came before it for asking a model. A newer version would promise what nobody
# has compared with what is here, and one of our own would be too old for all of them.
API_VERSION = "0.13.4"
# When a model is given up that is not.
NEVER = "9999-12-31T23:59:59Z"


@router.get("/api/version", response_model=None)
async def get_version() -> dict[str, str]:
    """Give the version of Ollama's API that is spoken, and the server's own."""
    return {"version": API_VERSION, "server": f"ruvllm {version('ruvllm')}"}


@router.get("/api/tags", response_model=None)
async def tags(request: Request) -> dict[str, Any]:
    """List what requests may ask for: the models, then the adapters on them."""
    models = server_of(request).models
    adapters = [
        _entry(model, models.adapter_id(model, one.name)) for model in models for one in model.adapters()
    ]
    return {"models": [*(_entry(model, model.name) for model in models), *adapters]}


@router.get("/api/ps", response_model=None)
async def loaded(request: Request) -> dict[str, Any]:
    """List the models that are loaded, and until when."""
    models = [model for model in server_of(request).models if model.engine is not None]
    return {"models": [{**_entry(model, model.name), **_memory(model)} for model in models]}


@router.post("/api/show", response_model=None)
async def show(body: OllamaShow, request: Request) -> dict[str, Any]:
    """Describe a model, which is loaded for it."""
    body.named()
    model = await server_of(request).model_for(request, body)
    return {
        "modified_at": timestamp(model.served.created),
        "template": model.llm.chat_template or "",
        "parameters": f"num_ctx {model.llm.model_info.max_context}",
        "details": _details(model.served, parent=model.served.name if model.adapter else ""),
        "model_info": _facts(model.llm),
        "capabilities": _capabilities(model.llm),
    }


@router.post("/api/pull", response_model=None)
async def pull(body: OllamaPull, request: Request) -> Response:
    """Fetch a model, which is then served, and tell how that goes; who leaves does not end it."""
    manager(request)
    name = body.named()
    body.check_fields()
    server = server_of(request)
    found = await fetch_model(server, name)
    coming = Pull.of_one_here(name) if isinstance(found, ServedModel) else found
    note(request, model=name)
    if body.stream is not False:
        return LineStream(
            _told(coming),
            ping_seconds=server.settings.ping_seconds,
            ping=line(_progress(coming)),
            failure=lambda error: line(ollama_error(error)),
        )
    await coming.ended.wait()
    if coming.error is not None:
        raise coming.error
    return JSONResponse({"status": "success"})


@router.delete("/api/delete", response_model=None)
async def delete(body: OllamaDelete, request: Request) -> Response:
    """Delete a model that was fetched here, and its files, or stop fetching it."""
    manager(request)
    name = body.named()
    body.check_fields()
    await delete_model(server_of(request), name)
    return Response(status_code=200)


@router.post("/api/push", include_in_schema=False)
@router.post("/api/create", include_in_schema=False)
@router.post("/api/copy", include_in_schema=False)
@router.api_route("/api/blobs/{digest}", methods=["HEAD", "POST"], include_in_schema=False)
async def not_offered(request: Request) -> None:
    """Say that models are not made over this API."""
    message = f"{request.url.path} is not offered: models are fetched by /api/pull, and made elsewhere"
    raise ApiError(501, message, code="not_offered")


async def _told(coming: Pull) -> AsyncGenerator[bytes, None]:
    yield line({"status": "pulling manifest"})
    told: dict[str, Any] = {}
    while not coming.ended.is_set():
        if (now := _progress(coming)) != told:
            yield line(now)
            told = now
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(coming.ended.wait(), LOOK_SECONDS)
    if coming.error is not None:
        raise coming.error
    yield line({"status": "success"})


def _progress(coming: Pull) -> dict[str, Any]:
    status = f"pulling {coming.name}"
    if not coming.total:
        return {"status": status}
    return {"status": status, "total": coming.total, "completed": coming.done}


def _entry(model: ServedModel, name: str) -> dict[str, Any]:
    """A model in a list; less of one that is not loaded."""
    # Clients complete a name without a version, and look for it in the list.
    name = name if ":" in name else f"{name}:{LATEST}"
    entry = {"name": name, "model": name, "modified_at": timestamp(model.created)}
    if model.engine is None:
        return entry
    parent = "" if name in (model.name, f"{model.name}:{LATEST}") else model.name
    size = model.llm.model_info.file_bytes
    return {**entry, "size": size, "digest": model.fingerprint, "details": _details(model, parent=parent)}


def _memory(model: ServedModel) -> dict[str, Any]:
    info = model.llm.model_info
    return {
        "size": info.weight_bytes,
        "size_vram": 0,
        "expires_at": NEVER if (end := model.uses.end) is None else timestamp(end),
        "context_length": info.max_context,
    }


def _details(model: ServedModel, *, parent: str) -> dict[str, Any]:
    info = model.llm.model_info
    return {
        "parent_model": parent,
        "format": "gguf" if info.path.suffix == ".gguf" else "safetensors",
        "family": info.architecture,
        "families": [info.architecture],
        "parameter_size": _in_short(info.num_parameters),
        "quantization_level": info.quantization,
    }


def _in_short(count: int) -> str:
    """How many parameters.

    >>> _in_short(134_515_008), _in_short(7_241_732_096), _in_short(96)
    ('134.52M', '7.2B', '96')
    """
    if count >= 10**9:
        return f"{count / 10**9:.1f}B"
    return f"{count / 10**6:.2f}M" if count >= 10**4 else str(count)


def _facts(llm: LLM) -> dict[str, Any]:
    """What the model is, under the names of GGUF; the context is the one that there is here."""
    info = llm.model_info
    kind = info.architecture
    return {
        "general.architecture": kind,
        "general.basename": info.name,
        "general.parameter_count": info.num_parameters,
        f"{kind}.context_length": info.max_context,
        f"{kind}.embedding_length": info.hidden_size,
        f"{kind}.block_count": info.num_layers,
        f"{kind}.attention.head_count": info.num_heads,
        f"{kind}.attention.head_count_kv": info.num_kv_heads,
        f"{kind}.vocab_size": info.vocab_size,
    }


def _capabilities(llm: LLM) -> list[str]:
    found = ["completion"]
    if llm.chat_template is not None:
        found += ["tools"] if llm.response_format.reasons is None else ["tools", "thinking"]
    return [*found, "insert"] if llm.can_infill else found
