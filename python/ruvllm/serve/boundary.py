"""What every request passes first: its id, host, origin, key, size; and last: its line in the log.

Plain ASGI, so that streams pass through untouched and the ends of connections are seen.
"""

import asyncio
import logging
import re
import secrets
import time
from contextlib import ExitStack, suppress

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ruvllm.serve.access import Access
from ruvllm.serve.dialects import error_response, is_anthropic
from ruvllm.serve.entrance import Entrance
from ruvllm.serve.errors import ApiError, api_error
from ruvllm.serve.limits import KeyLimits, Lease
from ruvllm.serve.metrics import Metrics
from ruvllm.serve.origins import Origins, check_host
from ruvllm.serve.settings import ServerSettings
from ruvllm.serve.sse import UNWRAPPED_SEND

__all__ = ["Boundary"]

logger = logging.getLogger(__name__)

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
# So much of a request that is too large is still read, and for so long.
LINGER_BYTES = 64 * 1024 * 1024
LINGER_SECONDS = 2.0


class Boundary:
    """Lets requests in, or answers why not."""

    def __init__(
        self, app: ASGIApp, *, settings: ServerSettings, metrics: Metrics, access: Access, entrance: Entrance
    ) -> None:
        self._origins = Origins(settings.cors_origins)
        self._access = access
        self._app = self._origins.readable(app)
        self._settings = settings
        self._metrics = metrics
        self._limits = KeyLimits()
        self._entrance = entrance

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a connection; what ASGI calls."""
        if scope["type"] == "websocket":
            # There are none; one that is to come must be let in here first.
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        passage = _Passage(scope, headers, receive)
        sending = passage.sending(send)
        with ExitStack() as ends:
            scope["state"]["ends"] = ends
            try:
                check_host(scope, headers, self._settings.allowed_hosts)
                self._origins.check(scope["method"], headers)
                key = self._access.key_of(scope)
                if key is not None:
                    scope["state"]["key"] = key
                    if scope["method"] == "POST":
                        scope["state"]["lease"] = ends.enter_context(self._limits.request(key))
                limited = _SizeLimit(receive, self._settings.max_body_bytes, headers)
            except ApiError as error:
                await self._refuse(error, scope, receive, sending)
            else:
                if key is not None:
                    ends.enter_context(self._entrance.under_way(key.tenant))
                await self._answer(scope, limited, sending, passage)
            finally:
                self._log(passage)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, passage: "_Passage") -> None:
        """Let the routes answer; what they did not foresee is answered here, where headers are added."""
        try:
            await self._app(scope, receive, send)
        except asyncio.CancelledError:
            # By the server alone, which ends and has waited long enough.
            logger.warning("the request %s is cut off: the server ends", passage.request_id)
            error = ApiError(503, "the server ends", code="shutting_down", headers={"retry-after": "1"})
        except Exception as unforeseen:
            logger.exception("the request %s failed unexpectedly", passage.request_id)
            error = api_error(unforeseen)
        else:
            return
        # Where half of an answer is out, uvicorn hangs up: it must not look like a whole one.
        if not passage.has_begun:
            await self._refuse(error, scope, receive, send)

    async def _refuse(self, error: ApiError, scope: Scope, receive: Receive, send: Send) -> None:
        """Say why not; a page that is named may read it."""
        answer: ASGIApp = error_response(error, scope)
        if not self._origins.is_preflight(scope["method"], Headers(scope=scope)):
            answer = self._origins.readable(answer)
        await answer(scope, receive, send)

    def _log(self, passage: "_Passage") -> None:
        scope = passage.scope
        # The route's pattern, not the path: a client must not be able to make up new labels.
        route = getattr(scope.get("route"), "path", None) or "none"
        self._metrics.http.labels(scope["method"], route, str(passage.status)).inc()
        key = scope["state"].get("key")
        facts = {
            "request_id": passage.request_id,
            "method": scope["method"],
            "route": route,
            "status": passage.status,
            "tenant": key.tenant if key else "",
            "seconds": round(time.perf_counter() - passage.began, 4),
            **scope["state"].get("facts", {}),
        }
        logger.info(
            "%s", " ".join(f"{name}={value}" for name, value in facts.items()), extra={"facts": facts}
        )


class _Passage:
    """One request on its way through."""

    def __init__(self, scope: Scope, headers: Headers, receive: Receive) -> None:
        given = headers.get("x-request-id", "")
        self.scope = scope
        self._receive = receive
        self.has_begun = False
        self.began = time.perf_counter()
        self.status = 499  # the client left before there was an answer
        self.request_id = given if _REQUEST_ID.fullmatch(given) else f"req_{secrets.token_hex(12)}"
        scope.setdefault("state", {})["request_id"] = self.request_id

    def sending(self, send: Send) -> Send:
        """Add the headers that every answer has."""
        self.scope["state"][UNWRAPPED_SEND] = send

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.has_begun = True
                self.status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = self.request_id
                if is_anthropic(self.scope["path"], self.scope.get("root_path", "")):
                    headers["request-id"] = self.request_id
                headers["openai-processing-ms"] = str(round((time.perf_counter() - self.began) * 1000))
                headers["x-content-type-options"] = "nosniff"
                if self.status == 413:
                    headers["connection"] = "close"
            elif self.status == 413 and not message.get("more_body"):
                await send({**message, "more_body": True})
                await self._read_on()
                message = {"type": "http.response.body", "body": b""}
            if message["type"] == "http.response.body" and not message.get("more_body"):
                self._end()
            await send(message)

        return send_with_headers

    def _end(self) -> None:
        """Give back what the key's limits gave, before the client sees the end: it may ask again at once."""
        lease: Lease | None = self.scope["state"].get("lease")
        if lease is not None:
            lease.close()

    async def _read_on(self) -> None:
        """Read a little of what is too large: a client that is still sending would not read its answer."""

        async def read() -> None:
            num_bytes, more = 0, True
            while more and num_bytes < LINGER_BYTES:
                message = await self._receive()
                num_bytes += len(message.get("body", b""))
                more = message.get("more_body", False)

        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(read(), LINGER_SECONDS)


class _SizeLimit:
    """Hands a request's body on, up to its limit."""

    def __init__(self, receive: Receive, limit: int, headers: Headers) -> None:
        self._receive = receive
        self._limit = limit
        self._left = limit
        declared = headers.get("content-length", "0")
        if declared.isdecimal() and int(declared) > limit:
            raise self._too_large()

    async def __call__(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._left -= len(message.get("body", b""))
            if self._left < 0:
                raise self._too_large()
        return message

    def _too_large(self) -> ApiError:
        return ApiError(413, f"the request is larger than {self._limit} bytes", code="request_too_large")
