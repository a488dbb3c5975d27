"""The ingress: lets a request in, reads it whole, says what decides its worker, passes on what it answers."""

from contextlib import ExitStack
from typing import Any

from ray.serve.handle import DeploymentHandle
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ruvllm.integrations.ray.call import Call, Keys, keys_of, portable
from ruvllm.integrations.ray.doorway import Doorway, read_on
from ruvllm.integrations.ray.everywhere import check_one_can, combined, is_for_all
from ruvllm.integrations.ray.losses import naming_losses
from ruvllm.integrations.ray.settings import WorkerSettings
from ruvllm.integrations.ray.shares import Shares
from ruvllm.serve.errors import ApiError
from ruvllm.serve.origins import path_of

__all__ = ["Ingress"]


class Ingress:
    """What Serve's proxies ask."""

    def __init__(self, workers: "DeploymentHandle[Any]", settings: WorkerSettings, shares: Shares) -> None:
        self._workers = workers
        self._shares = shares
        self._server = settings.server_settings()
        self._doorway = Doorway(self._server)

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
            if error.status_code == 413:
                await read_on(receive)
            await self._doorway.refusal(error, scope)(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        method, path = scope["method"], path_of(scope)
        tenant = self._doorway.tenant_of(scope)
        check_one_can(method, path)
        if is_for_all(method, path):
            # None of these reads a body.
            await self._ask_all(Call(portable(scope), b"", Keys(tenant=tenant)), path, send)
            return
        with ExitStack() as ends:
            is_pinned = self._server.learn and path != "/health"
            if is_pinned:
                ends.enter_context(self._shares.request(tenant))
            body = await self._doorway.body(receive)
            if body is None:
                return
            keys = keys_of(body, Headers(scope=scope), tenant=tenant, learns=is_pinned)
            with naming_losses(may_ask_again=method == "GET" or not path.startswith("/v1/feedback")):
                await self._pass_on(Call(portable(scope), body, keys), send)

    async def _ask_all(self, call: Call, path: str, send: Send) -> None:
        with naming_losses(may_ask_again=True):
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


async def _nothing_more() -> Message:
    return {"type": "http.disconnect"}


async def _live(receive: Receive, send: Send) -> None:
    while (await receive())["type"] == "lifespan.startup":
        await send({"type": "lifespan.startup.complete"})
    await send({"type": "lifespan.shutdown.complete"})
