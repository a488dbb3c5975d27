"""A worker: an engine and before it the whole server of `ruvllm serve`, asked by the ingress, no socket."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import ray
from ray import serve
from starlette.types import Message

import ruvllm.hub as hub
from ruvllm.errors import RuvLLMError
from ruvllm.integrations.ray.call import Call
from ruvllm.integrations.ray.exchange import answers
from ruvllm.integrations.ray.published import PublishedAdapters
from ruvllm.integrations.ray.seats import Seat
from ruvllm.integrations.ray.settings import WorkerSettings
from ruvllm.llm import LLM
from ruvllm.serve import ServedModel, create_app

__all__ = ["Worker"]

logger = logging.getLogger("ray.serve")


class Worker:
    """What Serve calls a replica."""

    async def __init__(self, settings: WorkerSettings) -> None:  # type: ignore[misc]  # Serve awaits it
        """Load the model; Serve sends requests once this is done."""
        # What the worker has been given, which options of its deployment may change.
        context: Any = ray.get_runtime_context()
        threads = max(1, int(context.get_assigned_resources().get("CPU", settings.num_cpus)))
        name = settings.name or hub.called(settings.model, hub.DEFAULT_REGISTRY)
        self._ends = ExitStack()
        self._model = ServedModel(
            name,
            lambda: LLM(settings.model, progress=False, threads=threads, **settings.engine),
        )
        self._seat: Seat | None = None
        if settings.learn_dir is not None:
            self._seat = await asyncio.to_thread(self._take_seat, settings.learn_dir, settings.model)
            self._model.learned_folder = self._seat.folder
        self._app = create_app([self._model], settings.server_settings())
        self._lifespan = self._app.router.lifespan_context(self._app)
        await self._lifespan.__aenter__()
        await self._model.ready()
        self._published = PublishedAdapters(self._model.llm.adapters)

    def _take_seat(self, learn_dir: Path, model: str) -> Seat:
        """Have a place for what tenants teach, by the model's file, which is fetched and read for that."""
        return self._ends.enter_context(Seat.taken(learn_dir, hub.resolve(model, quiet=True)))

    async def call(self, call: Call) -> AsyncGenerator[list[Message], None]:
        """Answer a request."""
        if self._seat is not None and self._model.learning is not None:
            try:
                await asyncio.to_thread(self._seat.catch_up, self._model.learning, call.keys.tenant)
            except (RuvLLMError, OSError) as error:
                # The answer is made with what is known here.
                logger.error("what %r taught other workers is not taken: %s", call.keys.tenant, error)
        async for messages in answers(self._app, call):
            yield messages

    async def call_whole(self, call: Call) -> tuple[str, list[Message]]:
        """Answer one that all workers are asked, and say who answers."""
        messages = [message async for some in answers(self._app, call) for message in some]
        return serve.get_replica_context().replica_id.unique_id, messages

    async def reconfigure(self, published: dict[str, Any]) -> None:
        """Take the adapters that are published now; Serve calls it at the start and when they change."""
        wanted = {name: Path(folder) for name, folder in published.get("adapters", {}).items()}
        await asyncio.to_thread(self._published.take, wanted)

    async def check_health(self) -> None:
        """Raise where the engine has stopped: Serve starts another worker then."""
        if (failure := self._model.failure) is not None:
            raise failure

    async def __del__(self) -> None:
        """End well; what Serve awaits once the last request has been answered."""
        try:
            await self._lifespan.__aexit__(None, None, None)
        except (RuvLLMError, OSError):
            logger.exception("the worker did not end well")
        self._ends.close()
