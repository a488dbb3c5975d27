"""What a request must be before its body is read: for this host, of an allowed page, with a key, not large.

Asked in the order of `Boundary`, which the worker has as well: limits of keys are its own.
"""

import asyncio
from contextlib import suppress

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope

from ruvllm.serve.access import Access
from ruvllm.serve.boundary import LINGER_BYTES, LINGER_SECONDS
from ruvllm.serve.dialects import error_response
from ruvllm.serve.errors import ApiError
from ruvllm.serve.origins import Origins, check_host
from ruvllm.serve.settings import ServerSettings

__all__ = ["Doorway", "read_on"]


class Doorway:
    """Lets requests in, and reads their bodies."""

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._origins = Origins(settings.cors_origins)
        self._access = Access(settings.keys, self._origins)

    def tenant_of(self, scope: Scope) -> str:
        """Whose request it is; `ApiError` for what a worker would refuse whatever its body is."""
        headers = Headers(scope=scope)
        check_host(scope, headers, self._settings.allowed_hosts)
        self._origins.check(scope["method"], headers)
        key = self._access.key_of(scope)
        declared = headers.get("content-length", "0")
        if declared.isdecimal() and int(declared) > self._settings.max_body_bytes:
            raise self._too_large()
        return key.tenant if key else self._settings.open_tenant

    async def body(self, receive: Receive) -> bytes | None:
        """A request's body, whole; `None` of a client that has left meanwhile."""
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            if len(body) > self._settings.max_body_bytes:
                raise self._too_large()
            if not message.get("more_body"):
                return bytes(body)

    def refusal(self, error: ApiError, scope: Scope) -> ASGIApp:
        """Why not; a page that is named may read it."""
        answer: ASGIApp = error_response(error, scope)
        if not self._origins.is_preflight(scope["method"], Headers(scope=scope)):
            answer = self._origins.readable(answer)
        return answer

    def _too_large(self) -> ApiError:
        limit = self._settings.max_body_bytes
        return ApiError(413, f"the request is larger than {limit} bytes", code="request_too_large")


async def read_on(receive: Receive) -> None:
    """Read a little of what is too large: a client that is still sending would not read its answer."""

    async def read() -> None:
        num_bytes, more = 0, True
        while more and num_bytes < LINGER_BYTES:
            message = await receive()
            num_bytes += len(message.get("body", b""))
            more = message.get("more_body", False)

    with suppress(asyncio.TimeoutError):
        await asyncio.wait_for(read(), LINGER_SECONDS)
