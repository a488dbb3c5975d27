"""The ingress: reads a request whole, says what decides its worker, passes on the answer as it comes."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from ray.exceptions import RayActorError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, ReplicaUnavailableError
from ray.serve.handle import DeploymentHandle
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ruvllm.integrations.ray.call import Call, keys_of, portable
from ruvllm.integrations.ray.everywhere import check_one_can, combined, is_for_all
from ruvllm.integrations.ray.settings import WorkerSettings
from ruvllm.serve.access import Access
from ruvllm.serve.dialects import error_response
from ruvllm.serve.errors import ApiError
from ruvllm.serve.origins import Origins, path_of

__all__ = ["Ingress"]

logger = logging.getLogger("ray.serve")

# What Serve raises where the worker that a request went to is no more, or none could be had.
_LOST = (RayActorError, DeploymentUnavailableError, ReplicaUnavailableError)


class Ingress:
    """What Serve's proxies ask."""

    def __init__(self, workers: "DeploymentHandle[Any]", settings: WorkerSettings) -> None:
        self._workers = workers
        self._server = settings.server_settings()
        self._access = Access(self._server.keys, Origins(self._server.cors_origins))

    def __serve_build_asgi_app__(self) -> ASGIApp:
        """What Serve asks for once this is made."""

        # A function, since what Serve runs it with takes a bound method for an application of ASGI 2.
        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await self._serve(scope, receive, send)

        return application

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        begun = False

        async def sending(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._answer(scope, receive, sending)
        except ApiError as error:
            if begun:
                raise
            await error_response(error, scope)(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = path_of(scope)
        check_one_can(scope["method"], path)
        body = await _body(receive, self._server.max_body_bytes)
        keys = keys_of(body, Headers(scope=scope), tenant=self._tenant_of(scope), learns=self._server.learn)
        call = Call(portable(scope), body, keys)
        if is_for_all(scope["method"], path):
            await _naming_losses(lambda: self._ask_all(call, path, send))
        else:
            await _naming_losses(lambda: self._pass_on(call, send))

    async def _ask_all(self, call: Call, path: str, send: Send) -> None:
        answers = await self._workers.broadcast("call_whole", call).results_async()
        await combined(path, answers)(call.scope, _nothing_more, send)

    async def _pass_on(self, call: Call, send: Send) -> None:
        """Let a worker answer; whoever cancels this, since the client left, cancels it there, too."""
        answer: Any = self._workers.options(method_name="call", stream=True).remote(call)
        has_ended = False
        try:
            async for messages in answer:
                for message in messages:
                    await send(message)
            has_ended = True
        finally:
            if not has_ended:
                answer.cancel()

    def _tenant_of(self, scope: Scope) -> str:
        try:
            key = self._access.key_of(scope)
        except ApiError:
            return ""  # any worker refuses it
        return key.tenant if key else self._server.open_tenant


async def _naming_losses(passing: Callable[[], Awaitable[None]]) -> None:
    """Say in our own words what Serve could not do."""
    try:
        await passing()
    except BackPressureError as error:
        raise ApiError(
            429, "too many requests wait for a worker", code="overloaded", headers={"retry-after": "1"}
        ) from error
    except _LOST as error:
        logger.warning("a request is lost with its worker: %s", error)
        raise ApiError(
            503,
            "the worker that answered is gone: ask again",
            code="worker_lost",
            headers={"retry-after": "1"},
        ) from error


async def _nothing_more() -> Message:
    return {"type": "http.disconnect"}


async def _body(receive: Receive, limit: int) -> bytes:
    """A request's body; of one that is too large enough that the worker, which refuses it, sees that."""
    body = bytearray()
    while True:
        message: dict[str, Any] = dict(await receive())
        body += message.get("body", b"")
        if not message.get("more_body") or len(body) > limit:
            return bytes(body)


async def _live(receive: Receive, send: Send) -> None:
    while (await receive())["type"] == "lifespan.startup":
        await send({"type": "lifespan.startup.complete"})
    await send({"type": "lifespan.shutdown.complete"})
