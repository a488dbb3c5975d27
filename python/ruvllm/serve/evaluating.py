"""Requests that read tokens and make none: decisions, embeddings."""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

from fastapi import Request

from ruvllm.serve.asked_model import AskedModel
from ruvllm.serve.server import note, server_of
from ruvllm.serve.sse import unless_disconnected

__all__ = ["evaluated"]

Result = TypeVar("Result")


async def evaluated(
    request: Request, model: AskedModel, num_tokens: int, work: Coroutine[Any, Any, Result]
) -> Result:
    """What comes of so many tokens; counted, and cancelled where the client leaves before."""
    note(request, prompt_tokens=num_tokens)
    watch = server_of(request).metrics.watch(model.served.name, num_tokens, time.perf_counter())
    try:
        result: Result = await unless_disconnected(request, asyncio.ensure_future(work))
        watch.has_read(time.perf_counter())
        return result
    finally:
        watch.left()
