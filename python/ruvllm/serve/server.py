"""What the routes of one server share, and how they reach it."""

import re
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from threading import Event
from typing import Any

from starlette.requests import Request

from ruvllm._settings import SettingInForce
from ruvllm.async_engine import AsyncEngine
from ruvllm.runtime.request import Terms
from ruvllm.serve.access import Access
from ruvllm.serve.adapter_folders import AdapterFolders
from ruvllm.serve.asked_model import AskedModel, asked_model
from ruvllm.serve.entrance import Entrance
from ruvllm.serve.errors import ApiError
from ruvllm.serve.given_answers import GivenAnswers
from ruvllm.serve.keys import ApiKey
from ruvllm.serve.limits import Lease
from ruvllm.serve.metrics import Metrics
from ruvllm.serve.models import ServedModel
from ruvllm.serve.off_loop import Errand, OffLoop, OneAtATime
from ruvllm.serve.pulling import Pulls
from ruvllm.serve.schemas.base import Body
from ruvllm.serve.served_models import ServedModels
from ruvllm.serve.settings import ServerSettings
from ruvllm.serve.stored_responses import StoredResponses

__all__ = [
    "Server",
    "admin",
    "count_answers",
    "ends_of",
    "errand_of",
    "is_manager",
    "manager",
    "note",
    "server_of",
    "tenant_of",
    "terms_of",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """The parts that live as long as the server."""

    settings: ServerSettings
    models: ServedModels
    metrics: Metrics
    stored_responses: StoredResponses
    access: Access
    entrance: Entrance
    adapter_folders: AdapterFolders
    pulls: Pulls
    # Which settings hold, and where each comes from.
    in_force: tuple[SettingInForce, ...]
    given_answers: GivenAnswers = field(default_factory=GivenAnswers)
    # Of each tenant, those that are made or wait to be.
    corrections: Counter[str] = field(default_factory=Counter)
    correcting: OneAtATime = field(default_factory=OneAtATime)
    loading_adapters: OneAtATime = field(default_factory=OneAtATime)
    off_loop: OffLoop = field(default_factory=OffLoop)
    # Set once the server is told to end: it still answers, and `/health` sends newcomers elsewhere.
    leaving: Event = field(default_factory=Event)

    async def model_for(self, request: Request, body: Body) -> AskedModel:
        """What a body asks for as its model, loaded, once its fields are found to be in order."""
        route = request.scope["route"].path
        if num_unknown := body.check_fields():
            self.metrics.unknown_fields.labels(route).inc(num_unknown)
        wanted: str | None = getattr(body, "model", None)
        model = await asked_model(self.models, wanted, ends_of(request))
        note(request, model=re.sub(r"\s", "_", model.name))
        return model

    async def engine_for(self, request: Request, model: ServedModel) -> AsyncEngine:
        """The engine of a model, loaded where it is not, which stays so until the request has its answer."""
        ends_of(request).enter_context(model.uses.one())
        return await model.ready()


def server_of(request: Request) -> Server:
    """The server that a request came to."""
    server: Server = request.app.state.server
    return server


def ends_of(request: Request) -> ExitStack:
    """What is closed when a request has been answered, however that ends."""
    ends: ExitStack = request.scope["state"]["ends"]
    return ends


def tenant_of(request: Request) -> str:
    """On whose account a request runs."""
    key: ApiKey | None = getattr(request.state, "key", None)
    return key.tenant if key else server_of(request).settings.open_tenant


def terms_of(request: Request, model: AskedModel, priority: int | None = None) -> Terms:
    """Whose a request is, how urgent by what its body asks for and its key allows, and with which adapter."""
    key: ApiKey | None = getattr(request.state, "key", None)
    priority = priority or 0
    # Without keys all are one tenant, which orders its requests itself.
    rank = min(priority, key.max_priority) if key else None
    return Terms(tenant_of(request), priority, rank, model.adapters)


def count_answers(request: Request, num_answers: int) -> None:
    """Count what a request asks for against its key's limits; 429 where it is too much.

    Called before anything is computed for it. What is scored or embedded counts as an answer, too.
    """
    lease: Lease | None = getattr(request.state, "lease", None)
    if lease is not None:
        lease.cover(num_answers)


def errand_of(request: Request) -> Errand:
    """Who does a request's long work, so that the event loop does not."""
    return Errand(server_of(request).off_loop, tenant_of(request))


def admin(request: Request) -> None:
    """Let only those in who may act for all tenants."""
    key: ApiKey | None = getattr(request.state, "key", None)
    if key is not None and not key.is_admin:
        message = "this key may not change what the server holds for all: that takes an admin key"
        raise ApiError(403, message, code="permission_denied")


def is_manager(request: Request) -> bool:
    """Whether a request may change which models are loaded: with an admin key, and not without any key.

    A model that goes is gone for everybody, so on a server that is open to all nobody may send it away.
    """
    key: ApiKey | None = getattr(request.state, "key", None)
    return key is not None and key.is_admin


def has_manager(server: Server) -> bool:
    """Whether any key may change which models are loaded."""
    return any(key.is_admin for key in server.settings.keys)


def managing_refused(request: Request) -> str | None:
    """Why a request may not change which models are loaded; `None` where it may."""
    if is_manager(request):
        return None
    message = "which models are here and loaded is changed with an admin key alone"
    if not has_manager(server_of(request)):
        message += ", and this server has none: start it with --api-key, or an admin key of --api-key-file"
    return message


def manager(request: Request) -> None:
    """Let only those in who may change which models are loaded; 403."""
    if (reason := managing_refused(request)) is not None:
        raise ApiError(403, reason, code="permission_denied")


def note(request: Request, **facts: Any) -> None:
    """Add to the request's line in the log: counts and names, never texts."""
    request.scope["state"].setdefault("facts", {}).update(facts)
