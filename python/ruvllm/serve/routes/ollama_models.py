"""What Ollama's clients ask about the models and the server.

`/api/tags`, `/api/show`, `/api/ps`, `/api/version`. Models are the operator's, so that what would change them
is not offered.
"""

from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, Request

from ruvllm.llm import LLM
from ruvllm.serve.errors import ApiError
from ruvllm.serve.json_body import JsonRoute
from ruvllm.serve.models import LATEST, ServedModel
from ruvllm.serve.ollama_parts import timestamp
from ruvllm.serve.schemas.ollama import OllamaShow
from ruvllm.serve.server import server_of

__all__ = ["router"]

router = APIRouter(route_class=JsonRoute, tags=["ollama"])

# Clients look whether the server is new enough for what they use of it, and some go no further with an older
# one: VS Code's chat asks for 0.6.4, and `codex --oss` for 0.13.4, with which Ollama's /v1/responses began.
# That is here, and so is what came before it for asking a model. A newer version would promise what nobody
# has compared with what is here, and one of our own would be too old for all of them.
API_VERSION = "0.13.4"
# When a model is given up again: never.
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
    """List the models that are loaded, and stay so."""
    models = [model for model in server_of(request).models if model.engine is not None]
    return {"models": [{**_entry(model, model.name), **_memory(model)} for model in models]}


@router.post("/api/show", response_model=None)
async def show(body: OllamaShow, request: Request) -> dict[str, Any]:
    """Describe a model, which is loaded for it."""
    if body.model is None:
        raise ApiError(400, "model is missing", code="missing_required_parameter", param="model")
    model = await server_of(request).model_for(request, body)
    return {
        "modified_at": timestamp(model.served.created),
        "template": model.llm.chat_template or "",
        "parameters": f"num_ctx {model.llm.model_info.max_context}",
        "details": _details(model.served, parent=model.served.name if model.adapter else ""),
        "model_info": _facts(model.llm),
        "capabilities": _capabilities(model.llm),
    }


@router.post("/api/pull", include_in_schema=False)
@router.post("/api/push", include_in_schema=False)
@router.post("/api/create", include_in_schema=False)
@router.post("/api/copy", include_in_schema=False)
@router.delete("/api/delete", include_in_schema=False)
@router.api_route("/api/blobs/{digest}", methods=["HEAD", "POST"], include_in_schema=False)
async def not_offered(request: Request) -> None:
    """Say that models are not changed over this API."""
    message = f"{request.url.path} is not offered: which models there are is said when the server is started"
    raise ApiError(501, message, code="not_offered")


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
        "expires_at": NEVER,
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
