"""Which web pages may call the server: a browser carries their requests, whoever wrote them.

A page of any origin may make its visitor's browser send requests to this machine, even where it cannot read
the answers. `Boundary` asks here for every request, whatever its route; nothing else decides on an origin.
"""

import re
from collections.abc import Sequence
from urllib.parse import SplitResult, urlsplit

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Scope

from ruvllm.serve.errors import ApiError

__all__ = ["Origins", "check_host", "path_of"]

# What must change nothing, in any route.
_SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
_DEFAULT_PORTS = {"http": 80, "https": 443}
# What a browser says of its own page, and of an address that its user typed.
_OWN_SITES = {"same-origin", "none"}
_HEADERS = (
    "authorization",
    "content-type",
    "x-api-key",
    "x-request-id",
    "anthropic-version",
    "anthropic-beta",
    "anthropic-dangerous-direct-browser-access",
)


class Origins:
    """The origins whose pages may call; `*` names all of them."""

    def __init__(self, named: Sequence[str]) -> None:
        self._named = tuple(named)

    def check(self, method: str, headers: Headers) -> None:
        """Refuse what a page of another origin would change; clients that are no browsers name no origin."""
        if method in _SAFE_METHODS or "*" in self._named:
            return
        origins = headers.getlist("origin")
        if origins and all(origin in self._named for origin in origins):
            return
        strange = [origin for origin in origins if not _is_own(origin, headers.get("host", ""))]
        site = headers.get("sec-fetch-site", "none").strip().lower()
        if strange or site not in _OWN_SITES:
            page = f"the origin {strange[0]!r}" if strange else "another origin"
            message = f"a page of {page} may not call this server; --cors-origin (cors_origins) names who may"
            raise ApiError(403, message, code="origin_not_allowed")

    def is_preflight(self, method: str, headers: Headers) -> bool:
        """Whether a browser asks if it may ask: without a key, since it has none to send yet."""
        asks = method == "OPTIONS" and "origin" in headers and "access-control-request-method" in headers
        return asks and bool(self._named)

    def readable(self, app: ASGIApp) -> ASGIApp:
        """Answers of an application such that named pages may read them, and preflights answered."""
        if not self._named:
            return app
        return CORSMiddleware(
            app,
            allow_origins=self._named,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=_HEADERS,
            expose_headers=["x-request-id", "request-id", "retry-after"],
        )


def check_host(scope: Scope, headers: Headers, allowed: Sequence[str] | None) -> None:
    """Refuse a request to another name than this server's, or to several: each reader may take another."""
    hosts = headers.getlist("host")
    if len(hosts) > 1 or (not hosts and scope["http_version"] == "1.1"):
        raise ApiError(
            400, f"the request has {len(hosts)} Host headers; it must have one", code="invalid_host"
        )
    name = re.sub(r":\d+$", "", hosts[0] if hosts else "").lower()
    if allowed is not None and name not in allowed:
        raise ApiError(403, f"this server is not known as {name!r}", code="host_not_allowed")


def path_of(scope: Scope) -> str:
    """The path as this application has it, wherever it is mounted."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def _is_own(origin: str, host: str) -> bool:
    """Whether a page is this server's: by host and port alone, since TLS may end at a proxy before us."""
    page = _split(origin)
    if (
        page is None
        or page.scheme not in _DEFAULT_PORTS
        or origin.lower() != f"{page.scheme}://{page.netloc}".lower()
    ):
        return False
    own = _split(f"{page.scheme}://{host}")
    if own is None:
        return False
    default = _DEFAULT_PORTS[page.scheme]
    return (page.hostname, page.port or default) == (own.hostname, own.port or default)


def _split(address: str) -> SplitResult | None:
    try:
        parts = urlsplit(address)
        named = parts.hostname and parts.port != 0 and "@" not in parts.netloc
    except ValueError:
        return None
    return parts if named else None
