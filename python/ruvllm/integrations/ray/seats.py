"""Folders of workers that share a disk, and how what a tenant taught one of them reaches the others.

Each worker writes in a seat of its own, the first that is free: the seat of one that died is taken by the
next. Every generation of what a tenant taught is a file there as soon as its feedback is answered. Before a
worker answers a tenant it looks into the other seats, and goes on from what is newer than its own.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import ruvllm.whole_file as whole_file
from ruvllm.errors import ConfigError, OverloadedError
from ruvllm.learning.folder import LearnedFolder
from ruvllm.learning.state import newest_generation
from ruvllm.serve.model_learning import ModelLearning

__all__ = ["Seat"]

MAX_SEATS = 1000


class Seat:
    """The folder of one worker, beside those of the others."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    @contextmanager
    def taken(cls, shared: Path) -> "Iterator[Seat]":
        """Have the first seat that is free, while the block lasts or until the process ends."""
        for number in range(MAX_SEATS):
            seat = cls(shared / f"seat-{number}")
            with suppress(BlockingIOError):
                with whole_file.owning(seat.folder):
                    yield seat
                return
        raise ConfigError(
            f"all {MAX_SEATS} seats in {shared} are taken: give these workers another learn_dir"
        )

    def catch_up(self, learning: ModelLearning, tenant: str) -> None:
        """Go on from the newest generation that any worker has of a tenant."""
        seats = [path for path in self.folder.parent.glob("seat-*") if path != self.folder]
        newest = max(seats, key=lambda seat: _newest(seat, tenant), default=None)
        if newest is None or _newest(newest, tenant) <= learning.status(tenant)["generation"]:
            return
        # One that there is no room for is answered all the same, by the model as it is.
        with suppress(OverloadedError):
            learning.go_on_from(tenant, newest)


def _newest(seat: Path, tenant: str) -> int:
    return newest_generation(LearnedFolder(seat).tenants, tenant)
