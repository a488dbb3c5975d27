"""A request on its way from the ingress to a worker, with what decides which worker that is.

The body stays bytes: it is read once, by the worker that answers. To find the beginning of a prompt again it
is enough that a client writes the same beginning in the same way, which holds whatever else is wrong with
the body.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from starlette.types import Scope

__all__ = ["Call", "Keys", "keys_of", "portable"]

# Characters of a prompt whose worker is remembered as one; and of how many such blocks it is, at most.
BLOCK_BYTES = 64
MAX_BLOCKS = 256
# Where the part of a body begins that becomes a prompt, in any API.
_PROMPT = re.compile(rb'"(?:system|instructions|tools|messages|prompt|input|input_prefix|state)"\s*:')
_MODEL = re.compile(rb'"model"\s*:\s*"([^"\\]{0,256})"')
# Before the prompt or behind it, the model's name stands near one of the ends.
_NEAR = 16 * 1024
# What of a connection a worker needs to know; all of it can be sent.
_SCOPE = (
    "type",
    "asgi",
    "http_version",
    "method",
    "scheme",
    "path",
    "raw_path",
    "query_string",
    "root_path",
    "headers",
    "client",
    "server",
)


@dataclass(frozen=True, slots=True)
class Keys:
    """What decides which worker is asked.

    Attributes:
        pin: Requests of one pin go to one worker, as long as it is there; empty where any will do.
        is_bound: Whether they wait where that one is full; else they go to others.
        blocks: Of the beginning of the prompt: each stands for all of it up to its own end.
        tenant: Whose request it is.
    """

    pin: str = ""
    is_bound: bool = False
    blocks: tuple[bytes, ...] = ()
    tenant: str = ""


@dataclass(frozen=True, slots=True)
class Call:
    """One request, whole."""

    scope: dict[str, Any]
    body: bytes
    keys: Keys


def portable(scope: Scope) -> dict[str, Any]:
    """What of a connection another process can be told."""
    return {name: scope[name] for name in _SCOPE if name in scope}


def keys_of(body: bytes, headers: Mapping[str, str], *, tenant: str, learns: bool) -> Keys:
    """What decides where a request goes.

    Where tenants teach, those of a tenant stay together, since what it taught is known at one place first;
    else those of a session do, which keeps its responses at one place, unless that is full.
    """
    if learns:
        return Keys(f"tenant {tenant}", is_bound=True, tenant=tenant)
    if session := headers.get("x-session-id", ""):
        return Keys(f"session {tenant} {session[:256]}", tenant=tenant)
    return Keys(blocks=tuple(_blocks(body, tenant)), tenant=tenant)


def _blocks(body: bytes, tenant: str) -> Iterator[bytes]:
    found = _PROMPT.search(body)
    if found is None:
        return
    named = _MODEL.search(body[:_NEAR]) or _MODEL.search(body[-_NEAR:])
    # Tenants share no prefix, and neither do adapters.
    digest = blake2b(tenant.encode() + b"\0" + (named[1] if named else b""), digest_size=8)
    prompt = body[found.start() : found.start() + BLOCK_BYTES * MAX_BLOCKS]
    for begin in range(0, len(prompt) - BLOCK_BYTES + 1, BLOCK_BYTES):
        digest.update(prompt[begin : begin + BLOCK_BYTES])
        yield digest.digest()
