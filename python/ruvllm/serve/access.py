"""Which key a request has, where it needs one."""

from starlette.datastructures import Headers
from starlette.types import Scope

from ruvllm.serve.errors import ApiError
from ruvllm.serve.keys import ApiKey, KeyRing
from ruvllm.serve.origins import Origins, path_of

__all__ = ["Access"]

# What needs no key: it tells nothing and computes nothing.
_OPEN_PATHS = {"/", "/docs", "/health", "/openapi.json", "/favicon.ico"}
_OPEN_PREFIXES = ("/page/",)


class Access:
    """What a server asks of a request before anything else is made of it."""

    def __init__(self, keys: KeyRing, origins: Origins) -> None:
        self._keys = keys
        self._origins = origins

    def key_of(self, scope: Scope) -> ApiKey | None:
        """A request's key; `None` where it needs none, 401 where it must have another."""
        path = path_of(scope)
        if not len(self._keys) or path in _OPEN_PATHS or path.startswith(_OPEN_PREFIXES):
            return None
        headers = Headers(scope=scope)
        if self._origins.is_preflight(scope["method"], headers):
            return None
        kind, _, secret = headers.get("authorization", "").partition(" ")
        secret = secret.strip() if kind.lower() == "bearer" else headers.get("x-api-key", "")
        if not secret:
            message = "this server needs a key: send it as `Authorization: Bearer KEY` or `x-api-key: KEY`"
            raise ApiError(401, message, code="invalid_api_key", headers={"www-authenticate": "Bearer"})
        key = self._keys.find(secret)
        if key is None:
            raise ApiError(
                401, "this key is not known", code="invalid_api_key", headers={"www-authenticate": "Bearer"}
            )
        return key
