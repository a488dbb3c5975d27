"""`/models`: load, give up, fetch and delete models while the server runs, in llama.cpp's form.

Of the three forms that clients know (LM Studio's and Ollama's are the others) this is the one whose names of
models are those of `/v1/models`, and in which the list tells how each stands. Ollama's own routes stand in
`ollama_models`. Only admin keys may: a model that goes is gone for everybody.
"""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from ruvllm.serve.json_body import JsonRoute
from ruvllm.serve.model_management import LOOK_SECONDS, UNLOAD_WAIT_SECONDS, delete_model, fetch_model
from ruvllm.serve.model_states import States, changes, pull_state, state_of, states_of
from ruvllm.serve.models import ServedModel
from ruvllm.serve.schemas.managing import ManagedModel, WaitedFor
from ruvllm.serve.server import Server, manager, note, server_of
from ruvllm.serve.sse import EventStream, frame

__all__ = ["router"]

router = APIRouter(route_class=JsonRoute, tags=["models"])


@router.post("/models/load", response_model=None)
async def load(body: WaitedFor, request: Request) -> dict[str, Any]:
    """Begin to load a model; with `wait` the answer tells how that ended, where it ends in time."""
    model = _managed(body, request)
    await model.load(body.wait or 0.0)
    return {"success": True, "model": model.name, "status": state_of(model)}


@router.post("/models/unload", response_model=None)
async def unload(body: WaitedFor, request: Request) -> dict[str, Any]:
    """Give a model up once no request uses it, and its memory back; 409 where one still does after `wait`."""
    model = _managed(body, request)
    await model.unload(UNLOAD_WAIT_SECONDS if body.wait is None else body.wait)
    return {"success": True, "model": model.name, "status": state_of(model)}


@router.post("/models", response_model=None)
async def fetch(body: ManagedModel, request: Request) -> dict[str, Any]:
    """Begin to fetch a model, which is then served under that name; `/models/sse` tells how it goes.

    Of one that is served already it is told how that stands.
    """
    manager(request)
    body.check_fields()
    coming = await fetch_model(server_of(request), body.model)
    note(request, model=coming.name)
    status = state_of(coming) if isinstance(coming, ServedModel) else pull_state(coming)
    return {"success": True, "model": coming.name, "status": status}


@router.delete("/models", response_model=None)
async def delete(request: Request, model: str) -> dict[str, Any]:
    """Delete a model that was fetched here, and its files, or stop fetching it.

    Those that the server was started with stay.
    """
    manager(request)
    await delete_model(server_of(request), model)
    return {"success": True}


# Not in the description: it never ends, and has no schema there.
@router.get("/models/sse", include_in_schema=False)
async def events(request: Request) -> Response:
    """Tell how all models stand, and then what changes, as server-sent events, until the server ends."""
    server = server_of(request)
    return EventStream(_events(server), ping_seconds=server.settings.ping_seconds)


def _managed(body: WaitedFor, request: Request) -> ServedModel:
    manager(request)
    body.check_fields()
    model = server_of(request).models.named(body.model)
    note(request, model=model.name)
    return model


async def _events(server: Server) -> AsyncGenerator[bytes, None]:
    told: States = ({}, {})
    while not server.leaving.is_set():
        now = states_of(server.models, server.pulls)
        for event in changes(told, now):
            yield frame(event)
        told = now
        await asyncio.sleep(LOOK_SECONDS)
