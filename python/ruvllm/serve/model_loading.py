"""The loading of one model: once for all who wait for it, with its share, and why it failed."""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable

from ruvllm.async_engine import AsyncEngine, OpeningEngine
from ruvllm.errors import RuvLLMError
from ruvllm.llm import LLM
from ruvllm.serve.disclosure import public_message
from ruvllm.serve.errors import ApiError
from ruvllm.serve.retrying import LoadFailures

__all__ = ["ModelLoading", "OpenLLM"]

logger = logging.getLogger(__name__)

OpenLLM = Callable[[], LLM]
"""Loads a model; called in a thread of its own."""


class ModelLoading:
    """How one model is loaded. Of the event loop's thread alone, but for `note`.

    Attributes:
        failures: Why it could not be loaded.
        share: How much of it is loaded, from 0 to 1, while it loads; `None` where nobody tells.
    """

    def __init__(
        self, name: str, open_llm: OpenLLM, opened: Callable[[AsyncEngine], Awaitable[None]]
    ) -> None:
        """Load by `open_llm` when it is told to; `opened` has the engine before those who wait."""
        self.failures = LoadFailures()
        self.share: float | None = None
        self._name = name
        self._open_llm = open_llm
        self._opened = opened
        self._task: asyncio.Task[AsyncEngine] | None = None
        self._opening: OpeningEngine | None = None

    @property
    def task(self) -> "asyncio.Task[AsyncEngine] | None":
        """What loads it now."""
        return self._task

    @property
    def has_thread(self) -> bool:
        """Whether a thread still loads it, whoever has given up on that."""
        return self._opening is not None and self._opening.is_loading

    def note(self, done: int, total: int) -> None:
        """Take note of the bytes that are loaded, and of those in all; called by the thread that loads."""
        self.share = done / total if total else None

    def begin(self) -> "asyncio.Task[AsyncEngine]":
        """Begin to load it, where nobody has."""
        if self._task is None:
            self.share = None
            self._task = asyncio.create_task(self._load(), name=f"load {self._name}")
            self._task.add_done_callback(_mark_retrieved)
        return self._task

    async def _load(self) -> AsyncEngine:
        began = time.monotonic()
        try:
            self._opening = AsyncEngine.opened_by(self._open_llm, name=self._name)
            engine = await self._opening
            await self._opened(engine)
        except Exception as error:
            self.failures.add(error)
            logger.error(
                "the model %s could not be loaded: %s",
                self._name,
                error,
                exc_info=None if isinstance(error, RuvLLMError) else error,
            )
            raise self.refusal(error) from error
        finally:
            self._task = None
        logger.info("the model %s is loaded, after %.2f s", self._name, time.monotonic() - began)
        self.failures.clear()
        return engine

    def refusal(self, error: Exception) -> ApiError:
        """The answer to whoever asks for a model that could not be loaded."""
        message = f"the model {self._name} could not be loaded: {public_message(error)}"
        pause = self.failures.pause
        headers = {} if pause is None else {"retry-after": str(max(1, math.ceil(pause)))}
        return ApiError(503, message, code="model_failed", headers=headers)


def _mark_retrieved(task: "asyncio.Task[AsyncEngine]") -> None:
    """An error that nobody waited for has been logged already."""
    if not task.cancelled():
        task.exception()
