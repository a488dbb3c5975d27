"""Models that are fetched while a server runs: how that goes, and what becomes of them."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

from ruvllm.errors import RuvLLMError
from ruvllm.hub.progress import Report
from ruvllm.serve.disclosure import public_message
from ruvllm.serve.errors import ApiError, api_error
from ruvllm.serve.models import ServedModel

__all__ = ["ModelStore", "Pull", "Pulls"]

logger = logging.getLogger(__name__)

# Those that have failed and are told of until they are tried again.
MAX_FAILED = 100
# So long a download is waited for to break off: at the end of a server, and where it is to begin anew.
END_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class ModelStore:
    """Where a server gets further models.

    Attributes:
        check: Refuses what is no name of a model to be fetched, at once and without the network.
        fetch: Brings the files of a name, and makes the model of them; it is told of the bytes that are there
            and of those in all, and breaks off with what it is raised. Takes minutes.
        remove: Deletes the files of a name.
    """

    check: Callable[[str], None]
    fetch: Callable[[str, Report], ServedModel]
    remove: Callable[[str], object]


@dataclass(slots=True, eq=False)
class Pull:
    """One model on its way here.

    Attributes:
        name: What was asked for.
        done: Bytes that are here.
        total: Bytes in all; 0 before that is known.
        begun: When it began, in seconds of the Unix clock.
        state: How it stands.
        error: Why it failed, as it is answered.
        ended: Set at its end.
        gone: Set once its thread has ended, which it may do later where it was stopped.
    """

    name: str
    done: int = 0
    total: int = 0
    begun: int = field(default_factory=lambda: int(time.time()))
    state: Literal["downloading", "finished", "failed", "stopped"] = "downloading"
    error: ApiError | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    def of_one_here(cls, name: str) -> "Pull":
        """One that had nothing to do."""
        pull = cls(name, state="finished")
        pull.ended.set()
        return pull


class _BrokenOffError(Exception):
    """The server ends, or a client wants it no more."""


class Pulls:
    """The downloads of one server, each in a thread of its own. Of the event loop's thread alone."""

    def __init__(self, store: ModelStore | None, add: Callable[[ServedModel], None]) -> None:
        """Begin without any; `add` has a server serve what came."""
        self._store = store
        self._add = add
        self._pulls: dict[str, Pull] = {}
        # Those that were stopped and whose threads still run; one of a name at most.
        self._ending: dict[str, Pull] = {}
        self._is_closed = False

    @property
    def refused(self) -> str | None:
        """Why nothing is fetched here: a program made the server, and gave no store; else `None`."""
        if self._store is not None:
            return None
        return "this server was not started by `ruvllm serve`, and fetches and deletes no models"

    @property
    def store(self) -> ModelStore:
        """Where models come from; 501 where there is none."""
        if self._store is None:
            raise ApiError(501, self.refused or "", code="not_offered")
        return self._store

    def __iter__(self) -> Iterator[Pull]:
        """Those under way, and the last ones of each name that failed."""
        return iter(list(self._pulls.values()))

    async def begin(self, name: str) -> Pull:
        """Begin to fetch a model, where it is not under way; 400 for what cannot be fetched.

        409 where one of that name was stopped, and its thread does not end within a moment.
        """
        if (ending := self._ending.get(name)) is not None:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(ending.gone.wait(), END_SECONDS)
        if name in self._ending:
            message = f"{name}: fetching it was stopped, and that has not ended yet: try later"
            raise ApiError(409, message, code="download_ending", param="model")
        known = self._pulls.get(name)
        if known is not None and known.state == "downloading":
            return known
        store = self.store
        try:
            store.check(name)
        except RuvLLMError as error:
            raise api_error(error, param="model") from error
        pull = self._pulls[name] = Pull(name)
        failed = [one for one in self._pulls.values() if one.state == "failed"]
        for one in failed[:-MAX_FAILED]:
            del self._pulls[one.name]
        # A daemon: a network that does not answer must not hold up the end of the process.
        thread = threading.Thread(
            target=self._fetch,
            args=(store, pull, asyncio.get_running_loop()),
            name=f"fetch {name}",
            daemon=True,
        )
        thread.start()
        return pull

    def stop(self, name: str) -> bool:
        """Break off a download, or forget one that failed; False where there is none under that name.

        It is over at once, and its thread ends with the next bytes that it hears of. What only tells how far
        it is, as the Hub's downloads do, brings the rest all the same; that stays for the next time.
        """
        pull = self._pulls.pop(name, None)
        if pull is None:
            return False
        if pull.state == "downloading":
            logger.info("fetching the model %s is stopped", name)
            pull.state = "stopped"
            pull.error = ApiError(409, f"{name}: fetching it was stopped", code="download_stopped")
            pull.ended.set()
            self._ending[name] = pull
        return True

    def _fetch(self, store: ModelStore, pull: Pull, loop: asyncio.AbstractEventLoop) -> None:
        def report(done: int, total: int) -> None:
            if self._is_closed or pull.state == "stopped":
                raise _BrokenOffError
            pull.done, pull.total = done, total

        made: ServedModel | Exception
        try:
            made = store.fetch(pull.name, report)
        except Exception as error:  # noqa: BLE001 - told to whoever asks how it went
            made = error
        with suppress(RuntimeError):  # the server has ended meanwhile
            loop.call_soon_threadsafe(self._ended, pull, made)

    def _ended(self, pull: Pull, made: ServedModel | Exception) -> None:
        pull.gone.set()
        if pull.state == "stopped":
            del self._ending[pull.name]
            return
        if isinstance(made, ServedModel):
            logger.info("the model %s is fetched", pull.name)
            pull.state = "finished"
            del self._pulls[pull.name]
            self._add(made)
        else:
            expected = isinstance(made, RuvLLMError | _BrokenOffError)
            logger.error(
                "the model %s could not be fetched: %s", pull.name, made, exc_info=None if expected else made
            )
            pull.state = "failed"
            pull.error = ApiError(502, f"{pull.name}: {public_message(made)}", code="download_failed")
        pull.ended.set()

    async def close(self) -> None:
        """Break off what is under way; parts that are whole stay for the next time."""
        self._is_closed = True
        under_way = [pull.gone.wait() for pull in self if pull.state == "downloading"]
        under_way += [pull.gone.wait() for pull in self._ending.values()]
        if under_way:
            waiting = [asyncio.ensure_future(one) for one in under_way]
            await asyncio.wait(waiting, timeout=END_SECONDS)
            for one in waiting:
                one.cancel()
