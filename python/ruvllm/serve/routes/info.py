"""`GET /server_info` and `GET /model_info`: what routers made for SGLang ask a worker at its start.

Under SGLang's names, as far as they are true of this server. As there, one model is spoken of: the first.
"""

from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool

from ruvllm.serve.models import ServedModel
from ruvllm.serve.server import server_of

__all__ = ["router"]

router = APIRouter(tags=["models"])


@router.get("/server_info", response_model=None)
async def server_info(request: Request) -> dict[str, Any]:
    """Tell the name that requests give as `model`, and what there is room for; less while it loads."""
    model = server_of(request).models.first
    info: dict[str, Any] = {
        "served_model_name": model.name,
        "version": version("ruvllm"),
        "device": "cpu",
        "tp_size": 1,
        "dp_size": 1,
    }
    if model.engine is None:
        return info
    info |= {
        **_paths(model),
        "context_length": model.llm.model_info.max_context,
        "quantization": model.llm.model_info.quantization,
    }
    # Another engine may not tell how it keeps keys and values.
    if not model.llm.supports.quotas:
        return info
    blocks = await run_in_threadpool(model.kv_blocks)
    return info | {"page_size": blocks.block_tokens, "max_total_num_tokens": blocks.num_tokens}


@router.get("/model_info", response_model=None)
async def model_info(request: Request) -> dict[str, Any]:
    """Tell what kind of model it is; less while it loads."""
    model = server_of(request).models.first
    info: dict[str, Any] = {"served_model_name": model.name, "is_generation": True}
    if model.engine is None:
        return info
    return {
        **info,
        **_paths(model),
        "model_type": model.llm.model_info.architecture,
        "max_model_len": model.llm.model_info.max_context,
    }


def _paths(model: ServedModel) -> dict[str, str]:
    """The file's name: where it lies is nobody's business. Its tokenizer is in it, or beside it."""
    name = model.llm.model_info.path.name
    return {"model_path": name, "tokenizer_path": name}
