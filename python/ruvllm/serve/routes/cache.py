"""`/v1/cache`: what the prefix caches hold; flushing and saving them."""

import asyncio
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Depends, Request

from ruvllm.errors import InvalidOperationError
from ruvllm.serve.errors import ApiError
from ruvllm.serve.server import admin, server_of

__all__ = ["router"]

router = APIRouter(tags=["cache"])


@router.get("/v1/cache", response_model=None)
async def cache_statistics(request: Request) -> dict[str, Any]:
    """Counters and contents of the prefix cache of every model that is loaded."""
    data = []
    for model in server_of(request).models:
        if model.status == "ready":
            # One that is given up at that moment has none any more.
            with suppress(InvalidOperationError):
                stats = await asyncio.to_thread(model.llm.prefix_cache.stats)
                rates = {"hit_rate": stats.hit_rate, "token_hit_rate": stats.token_hit_rate}
                data.append({"model": model.name, **asdict(stats), **rates})
    return {"object": "list", "data": data}


@router.post("/v1/cache/flush", response_model=None, dependencies=[Depends(admin)])
async def flush_cache(request: Request) -> dict[str, Any]:
    """Forget every prefix that no request uses now."""
    for model in server_of(request).models:
        if model.status == "ready":
            with suppress(InvalidOperationError):
                await asyncio.to_thread(model.llm.prefix_cache.clear)
    return {"status": "flushed"}


@router.post("/v1/cache/save", response_model=None, dependencies=[Depends(admin)])
async def save_cache(request: Request) -> dict[str, Any]:
    """Write the prefix caches to the files that the server was started with."""
    saved = []
    for model in server_of(request).models:
        if model.status == "ready":
            if model.prefix_file is None:
                message = "the server was started without --prefix-cache-dir, so there is nowhere to save to"
                raise ApiError(400, message, code="no_cache_file")
            entries = await model.save_prefixes(model.prefix_file)
            saved.append({"model": model.name, "entries": entries})
    return {"object": "list", "data": saved}
