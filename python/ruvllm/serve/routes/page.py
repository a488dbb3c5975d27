"""The web page: static files out of the package, and the page that shows the interface's description.

Serves `/`, `/docs` and `/page/{file}`. The files hold no secrets, so they need no key; what they ask of the
server does. A file is named by a table of what the package holds, never by a path, and every answer forbids
the browser to load or to run anything from elsewhere.
"""

import functools
import hashlib
from dataclasses import dataclass
from importlib import resources

from fastapi import APIRouter, Request, Response

__all__ = ["router"]

router = APIRouter(include_in_schema=False)

_MEDIA_TYPES = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
_CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)
_HEADERS = {
    "Content-Security-Policy": _CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # The browser keeps the file and asks each time whether it is still the one: an update shows at once.
    "Cache-Control": "no-cache",
}


@dataclass(frozen=True, slots=True)
class _StaticFile:
    content: bytes
    media_type: str
    entity_tag: str


@functools.cache
def _static_files() -> dict[str, _StaticFile]:
    """What the package holds, by name; read once, since it does not change while the server runs."""
    files = {}
    for entry in resources.files("ruvllm.serve").joinpath("page").iterdir():
        media_type = _MEDIA_TYPES.get(entry.name.rpartition(".")[2])
        if media_type is not None:
            content = entry.read_bytes()
            digest = hashlib.sha256(content).hexdigest()[:32]
            files[entry.name] = _StaticFile(content, media_type, f'"{digest}"')
    return files


def _answer(request: Request, name: str) -> Response:
    file = _static_files().get(name)
    if file is None:
        return Response("There is no such file.\n", 404, _HEADERS, "text/plain; charset=utf-8")
    headers = {**_HEADERS, "ETag": file.entity_tag}
    known = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
    if file.entity_tag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    return Response(file.content, 200, headers, file.media_type)


@router.api_route("/", methods=["GET", "HEAD"])
async def conversation_page(request: Request) -> Response:
    """The page to talk with the model."""
    return _answer(request, "index.html")


@router.api_route("/docs", methods=["GET", "HEAD"])
async def interface_page(request: Request) -> Response:
    """The page that shows `/openapi.json` to people."""
    return _answer(request, "docs.html")


@router.api_route("/page/{name}", methods=["GET", "HEAD"])
async def static_file(request: Request, name: str) -> Response:
    """A file that the two pages load."""
    return _answer(request, name)
