"""Folders of workers that share a disk, and how what a tenant taught one of them reaches the others.

Each worker writes in a seat of its own, the first that is free: the seat of one that died is taken by the
next. Seats lie by the digest of their model, so that another model in the same place has its own. Every
generation of what a tenant taught is a file there as soon as its feedback is answered. Before a worker
answers a tenant it looks into the other seats, and goes on from what came of its own.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import ruvllm.whole_file as whole_file
from ruvllm.errors import ConfigError, OverloadedError, StorageError
from ruvllm.learning.folder import LearnedFolder
from ruvllm.learning.state import newest_generation
from ruvllm.runtime.model_digest import model_digest
from ruvllm.serve.model_learning import ModelLearning

__all__ = ["Seat"]

MAX_SEATS = 1000


class Seat:
    """The folder of one worker, beside those of the others."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # The newest generation of a tenant in another seat that was looked at, taken or not.
        self._looked_at: dict[tuple[str, str], int] = {}

    @classmethod
    @contextmanager
    def taken(cls, shared: Path, model: Path) -> "Iterator[Seat]":
        """Have the first seat of a model that is free, while the block lasts or until the process ends.

        `StorageError` where the shared folder cannot be used, such as one without locks, where two workers
        would have one seat.
        """
        try:
            seats = shared / model_digest(model)
        except OSError as error:
            raise StorageError(f"{model} cannot be read: {error.strerror or error}") from error
        with ExitStack() as owned:
            yield cls(_free_seat(seats, owned))

    def catch_up(self, learning: ModelLearning, tenant: str) -> None:
        """Go on from the newest generation that came of ours, wherever it is."""
        others = [path for path in self.folder.parent.glob("seat-*") if path != self.folder]
        for number, seat in sorted(((_newest(seat, tenant), seat) for seat in others), reverse=True):
            if number <= learning.status(tenant)["generation"]:
                return
            if self._looked_at.get((seat.name, tenant)) == number:
                continue
            # One that there is no room for is answered all the same, by the model as it is.
            with suppress(OverloadedError):
                learning.go_on_from(tenant, seat)
                self._looked_at[seat.name, tenant] = number


def _free_seat(seats: Path, owned: ExitStack) -> Path:
    for number in range(MAX_SEATS):
        seat = seats / f"seat-{number}"
        try:
            owned.enter_context(whole_file.owning(seat, must_lock=True))
        except BlockingIOError:
            continue
        except OSError as error:
            raise StorageError(
                f"no worker can have {seat} for itself: {error.strerror or error}; learn_dir must be on a "
                "file system whose locks (flock) hold on all machines"
            ) from error
        return seat
    raise ConfigError(f"all {MAX_SEATS} seats in {seats} are taken: give these workers another learn_dir")


def _newest(seat: Path, tenant: str) -> int:
    return newest_generation(LearnedFolder(seat).tenants, tenant)
