"""The adapters that deep loops made, each its tenant's alone: in the registry, and in a folder if told.

A tenant's adapters have numbers, which are never used twice; an adapter never changes.
"""

import logging
import re
import shutil
import tempfile
from collections.abc import Container, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path

from ruvllm.adapters import read_peft
from ruvllm.adapters.registry import Adapters, ChosenAdapters
from ruvllm.errors import NotFoundError, StorageError

__all__ = ["DeepAdapters"]

logger = logging.getLogger(__name__)

_PLAIN = re.compile(r"[A-Za-z0-9._/-]{1,100}")
_NUMBER = re.compile(r"[0-9]{1,10}")


class DeepAdapters:
    """Those of one model's tenants. Of all threads.

    Attributes:
        folder: Where they stay from one start to the next; `None` keeps them in memory.
    """

    def __init__(self, registry: Adapters) -> None:
        self._registry = registry
        self.folder: Path | None = None

    @staticmethod
    def name(tenant: str, number: int) -> str:
        """What the registry calls it."""
        return f"learned/{tenant if _PLAIN.fullmatch(tenant) else _digest(tenant)}/{number}"

    @contextmanager
    def place(self, tenant: str, number: int) -> Iterator[Path]:
        """A folder that is not there yet, for one that is to be trained; it goes where nothing keeps it."""
        if self.folder is None:
            with tempfile.TemporaryDirectory(prefix="ruvllm-deep-") as folder:
                yield Path(folder, "adapter")
            return
        place = self._place(self.folder, tenant, number)
        self._remove(place)
        try:
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            yield place
        except BaseException:
            self._remove(place)
            raise

    def load(self, tenant: str, number: int, place: Path) -> ChosenAdapters:
        """Put one that was trained into the registry; gives it as requests take it."""
        name = self.name(tenant, number)
        # From memory, where the folder will go.
        source = place if self.folder is not None else replace(read_peft(place), source=None)
        self._registry.load(name, source, tenant=tenant)
        return self._registry.chosen(name, tenant)

    def restore(self, tenant: str, number: int) -> ChosenAdapters:
        """One that an earlier start has kept, or that is there; an error of its own where it cannot be."""
        with suppress(NotFoundError):
            return self._registry.chosen(self.name(tenant, number), tenant)
        if self.folder is None:
            raise StorageError(f"the adapter {self.name(tenant, number)!r} was kept nowhere")
        return self.load(tenant, number, self._place(self.folder, tenant, number))

    def forget(self, tenant: str, number: int) -> None:
        """Nobody will go back to it."""
        self.unload(tenant, number)
        if self.folder is not None:
            self._remove(self._place(self.folder, tenant, number))

    def unload(self, tenant: str, number: int) -> None:
        """Let go of one in memory; in a folder it stays."""
        with suppress(NotFoundError):
            self._registry.unload(self.name(tenant, number))

    def clean(self, tenant: str, needed: Container[int | None]) -> None:
        """Remove from the folder what is of no use any more: a process may have ended at any moment."""
        if self.folder is None:
            return
        with suppress(OSError):
            for path in list((self.folder / _digest(tenant)).iterdir()):
                if not _NUMBER.fullmatch(path.name) or int(path.name) not in needed:
                    self._remove(path)

    def _remove(self, place: Path) -> None:
        for path in (place, place.with_name(f"{place.name}.training")):
            try:
                shutil.rmtree(path)
            except FileNotFoundError:
                continue
            except OSError as error:
                logger.error("%s cannot be removed: %s", path, error.strerror or error)

    @staticmethod
    def _place(folder: Path, tenant: str, number: int) -> Path:
        return folder / _digest(tenant) / f"{number:010}"


def _digest(tenant: str) -> str:
    return blake2b(tenant.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
