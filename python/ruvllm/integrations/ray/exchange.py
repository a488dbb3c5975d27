"""One request to an ASGI application that has no socket: the body in, what it answers out in batches."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any

from starlette.types import ASGIApp, Message

from ruvllm.integrations.ray.call import Call

__all__ = ["answers"]


async def answers(app: ASGIApp, call: Call) -> AsyncGenerator[list[Message], None]:
    """What an application answers, as it comes; once this is closed, it learns that its client left."""
    exchange = _Exchange(call.body)
    answering = asyncio.create_task(exchange.answer(app, call.scope))
    try:
        while messages := await exchange.next():
            yield messages
        await answering
    finally:
        exchange.left.set()
        # It ends by itself, as it does for every client that leaves, and takes its request out of the engine.
        with suppress(Exception):
            await asyncio.shield(answering)


class _Exchange:
    def __init__(self, body: bytes) -> None:
        self.left = asyncio.Event()
        self._body: bytes | None = body
        self._messages: list[Message] = []
        self._has_some = asyncio.Event()
        self._has_ended = False

    async def answer(self, app: ASGIApp, scope: dict[str, Any]) -> None:
        try:
            await app({**scope, "state": {}}, self._receive, self._send)
        finally:
            self._has_ended = True
            self._has_some.set()

    async def next(self) -> list[Message]:
        """All that has come since; nothing once it has ended."""
        await self._has_some.wait()
        messages, self._messages = self._messages, []
        if not self._has_ended:
            self._has_some.clear()
        return messages

    async def _receive(self) -> Message:
        if (body := self._body) is not None:
            self._body = None
            return {"type": "http.request", "body": body, "more_body": False}
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        self._messages.append(message)
        self._has_some.set()
