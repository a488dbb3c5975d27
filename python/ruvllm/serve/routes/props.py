"""`GET /props`: how the server and a model are set up, under llama.cpp's names."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request

from ruvllm._settings import SettingInForce
from ruvllm.llm import LLM
from ruvllm.serve.disclosure import without_folders
from ruvllm.serve.server import has_manager, is_manager, managing_refused, server_of

__all__ = ["router"]

router = APIRouter(tags=["models"])


@router.get("/props", response_model=None)
async def props(request: Request, model: str | None = None) -> dict[str, Any]:
    """Tell how a model is set up, the first where none is named; it is not loaded for that.

    `model_management` says why the request's key may not load, give up and fetch models; null where it may.
    On a server without keys, and to an admin key, it also tells which settings hold, and where each is from.
    """
    server = server_of(request)
    served = server.models.first if model is None else server.models.named(model)
    told: dict[str, Any] = {
        "build_info": f"ruvllm {version('ruvllm')}",
        "role": "router",
        "models_autoload": True,
        "model_alias": served.name,
        "is_sleeping": served.engine is None,
        "model_management": {
            "refused": managing_refused(request),
            "fetching_refused": server.pulls.refused,
            "has_admin_key": has_manager(server),
        },
    }
    if served.engine is not None:
        told |= _of_model(served.engine.llm)
    if not len(server.settings.keys) or is_manager(request):
        told["settings"] = [_shown(one) for one in server.in_force]
    return told


def _of_model(llm: LLM) -> dict[str, Any]:
    tokenizer = llm.tokenizer

    def text(token: int | None) -> str | None:
        return None if token is None or tokenizer is None else tokenizer.token_text(token)

    return {
        "model_path": llm.model_info.path.name,
        "default_generation_settings": {"n_ctx": llm.model_info.max_context},
        "chat_template": llm.chat_template or "",
        "bos_token": None if tokenizer is None else text(tokenizer.bos_token),
        "eos_token": None if tokenizer is None else text(tokenizer.eos_token),
    }


def _shown(setting: SettingInForce) -> dict[str, Any]:
    """A setting as JSON; files have their names alone."""
    return {
        "name": setting.name,
        "value": _plain(setting.value),
        "source": without_folders(setting.source),
    }


def _plain(value: object) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value.name if isinstance(value, Path) else without_folders(str(value))
