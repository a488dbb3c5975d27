"""What tenants have learned, on disk: each generation a file, written whole or not at all, read at the start.

    FOLDER/<digest of the tenant's name>/0000000012.safetensors

No name from outside is ever part of a path. A few generations of each tenant are kept; the newest that is
whole counts. What is damaged is set aside (`.broken`) and told of, never taken in part; what was learned on
another model is refused and stays.
"""

import errno
import logging
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from threading import Lock

import ruvllm.whole_file as whole_file
from ruvllm._checks import check_integer
from ruvllm.errors import NotFoundError, StorageError
from ruvllm.learning.lineage import NOBODYS, Lineage
from ruvllm.learning.state_file import MAX_BYTES, DamagedStateError, SavedState, read_state, written_state
from ruvllm.learning.tenant_state import TenantState

__all__ = ["TenantStates", "newest_generation", "stored_tenants"]

logger = logging.getLogger(__name__)

# What stands in a file's place and is none.
NO_FILE = (errno.EISDIR, errno.EINVAL, errno.ELOOP)

MAX_TENANTS = 10_000
_FOLDER = re.compile(r"[0-9a-f]{32}")
_FILE = re.compile(r"(\d{10})\.safetensors")
_ASIDE = re.compile(r"(\d{10})\.safetensors\.broken")


def stored_tenants(folder: str | os.PathLike[str]) -> Iterator[SavedState]:
    """The newest whole state of each tenant of a folder, also while another process writes there."""
    for tenant_folder in _tenant_folders(Path(folder)):
        if (saved := _newest(tenant_folder)) is not None:
            yield saved


def newest_generation(folder: str | os.PathLike[str], tenant: str) -> int:
    """The number of a tenant's newest file, also while another process writes there; 0 without any."""
    return max(_generations(_folder_in(Path(folder), tenant), _FILE), default=0)


class TenantStates:
    """The states of one model's tenants, to be written by one process.

        with TenantStates("learned/tenants", model=model_digest(path)) as states:
            state = states.load("ada") or TenantState.new("ada", ...)
            states.save(state)

    Of all threads; a file is on the disk when `save` is done.
    """

    def __init__(self, folder: str | os.PathLike[str], *, model: str, max_generations: int = 16) -> None:
        self.folder = Path(folder)
        self._model = model
        self._max_generations = check_integer("max_generations", max_generations, 1)
        self._making_folders = Lock()
        self._owned = ExitStack()
        try:
            self._owned.enter_context(whole_file.owning(self.folder))
        except OSError as error:
            raise StorageError(f"nothing can be kept in {folder}: {error.strerror or error}") from error

    def save(
        self,
        state: TenantState,
        earlier: Sequence[TenantState] | None = None,
        lineage: Lineage = NOBODYS,
    ) -> None:
        """Write a generation, and let those go that cannot be undone to any more.

        `ConfigError` for a state that holds what is no number, `StorageError` where it cannot be written.

        Args:
            state: What counts from now on.
            earlier: What it can be undone to, the oldest first; by default what is there.
            lineage: What led to it, where others teach the same tenant.
        """
        folder = self._folder_of(state.tenant)
        there = [number for number in _generations(folder, _FILE) if number < state.generation]
        numbers = there if earlier is None else [one.generation for one in earlier]
        numbers = numbers[-(self._max_generations - 1) :] if self._max_generations > 1 else []
        missing = [one for one in earlier or () if one.generation in set(numbers).difference(there)]
        try:
            for one in [*missing, state]:
                before = tuple(number for number in numbers if number < one.generation)
                self._write(SavedState(one, self._model, before, lineage if one is state else NOBODYS))
            for number, path in _generations(folder, _FILE).items():
                if number not in numbers and number != state.generation:
                    path.unlink(missing_ok=True)
            for path in list(_generations(folder, _ASIDE).values())[: -self._max_generations]:
                path.unlink(missing_ok=True)
        except OSError as error:
            reason = error.strerror or error
            raise StorageError(f"what was learned cannot be kept in {folder}: {reason}") from error

    def load(self, tenant: str) -> TenantState | None:
        """The newest state of a tenant that is whole; `None` where there is none.

        Damaged ones are set aside; a state that takes the place of such a one has a number above it, since
        none is used twice. `StorageError` where the newest was learned on another model.
        """
        folder = self._folder_of(tenant)
        for number, path in reversed(_generations(folder, _FILE).items()):
            try:
                saved = _checked(path, number, tenant)
            except DamagedStateError as error:
                self._set_aside(path, error)
                continue
            self._check_model(path, saved)
            used = max([number, *_generations(folder, _ASIDE)])
            return saved.state if number == used else replace(saved.state, generation=used + 1)
        return None

    def generation(self, tenant: str, number: int) -> TenantState:
        """An older state of a tenant; `NotFoundError` where it is not kept."""
        path = _generations(self._folder_of(tenant), _FILE).get(number)
        if path is None:
            raise NotFoundError(f"generation {number} is not kept; there are {self.generations(tenant)}")
        saved = _checked(path, number, tenant)
        self._check_model(path, saved)
        return saved.state

    def earlier(self, tenant: str) -> list[TenantState]:
        """What the newest whole state can be undone to, the oldest first, as far as that is whole."""
        newest = _newest(self._folder_of(tenant))
        states = []
        for number in newest.earlier if newest else ():
            with suppress(StorageError, NotFoundError):
                states.append(self.generation(tenant, number))
        return states

    def lineage(self, tenant: str) -> Lineage:
        """What led to the newest whole state."""
        newest = _newest(self._folder_of(tenant))
        return newest.lineage if newest else NOBODYS

    def elsewhere(self, tenant: str, folder: str | os.PathLike[str]) -> tuple[list[TenantState], Lineage]:
        """A tenant's states in the folder of another process, which may write there: the newest is the last.

        With what led to that one. `StorageError` where they were learned on another model.
        """
        there = _folder_in(Path(folder), tenant)
        newest = _newest(there)
        if newest is None:
            return [], NOBODYS
        self._check_model(there, newest)
        states = []
        for number in newest.earlier:
            # What cannot be read, or was let go meanwhile, cannot be undone to.
            with suppress(StorageError):
                states.append(_checked(there / _name(number), number, tenant).state)
        return [*states, newest.state], newest.lineage

    def generations(self, tenant: str) -> list[int]:
        """The numbers of the generations that are kept, the oldest first."""
        return list(_generations(self._folder_of(tenant), _FILE))

    def tenants(self) -> list[str]:
        """Those of whom there is a whole state, of this model or another."""
        return sorted(one.state.tenant for one in stored_tenants(self.folder))

    def forget(self, tenant: str) -> None:
        """Remove all that there is of a tenant."""
        folder = self._folder_of(tenant)
        try:
            for pattern in (_FILE, _ASIDE):
                for path in _generations(folder, pattern).values():
                    path.unlink(missing_ok=True)
            with suppress(FileNotFoundError):
                folder.rmdir()
        except OSError as error:
            reason = error.strerror or error
            raise StorageError(f"{folder} cannot be removed: {reason}") from error

    def close(self) -> None:
        """Let another process write there."""
        self._owned.close()

    def __enter__(self) -> "TenantStates":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _folder_of(self, tenant: str) -> Path:
        return _folder_in(self.folder, tenant)

    def _write(self, saved: SavedState) -> None:
        data = written_state(saved)
        folder = self._folder_of(saved.state.tenant)
        self._make(folder)
        with whole_file.replacing(folder / _name(saved.state.generation)) as file:
            file.write(data)

    def _make(self, folder: Path) -> None:
        with self._making_folders:
            if folder.is_dir():
                return
            if len(_tenant_folders(self.folder)) >= MAX_TENANTS:
                raise StorageError(f"{self.folder} holds {MAX_TENANTS} tenants; no more are kept")
            folder.mkdir(mode=0o700)

    def _check_model(self, path: Path, saved: SavedState) -> None:
        if saved.model != self._model:
            raise StorageError(
                f"{path} was learned on another model ({saved.model[:32]!r}, and this is {self._model!r}); "
                "give each model a folder of its own"
            )

    def _set_aside(self, path: Path, error: StorageError) -> None:
        aside = path.with_name(f"{path.name}.broken")
        logger.error("%s is set aside as %s: %s", path, aside.name, error)
        try:
            whole_file.move(path, aside)
        except OSError as failure:
            raise StorageError(f"{path} cannot be set aside: {failure.strerror or failure}") from failure


def _folder_in(folder: Path, tenant: str) -> Path:
    return folder / blake2b(tenant.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _name(number: int) -> str:
    return f"{number:010}.safetensors"


def _checked(path: Path, number: int, tenant: str | None = None) -> SavedState:
    """What a file holds; `DamagedStateError` where that is not what its place says."""
    try:
        with whole_file.open_regular(path) as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        kind = DamagedStateError if error.errno in NO_FILE else StorageError
        raise kind(f"{path} cannot be read: {error.strerror or error}") from error
    if len(data) > MAX_BYTES:
        raise DamagedStateError(f"it has more than {MAX_BYTES} bytes")
    saved = read_state(data)
    if saved.state.generation != number:
        raise DamagedStateError(f"it holds generation {saved.state.generation}")
    if tenant is not None and saved.state.tenant != tenant:
        raise DamagedStateError("it holds the state of another tenant")
    return saved


def _newest(folder: Path) -> SavedState | None:
    """The newest whole state of a tenant's folder; nothing is set aside."""
    for number, path in reversed(_generations(folder, _FILE).items()):
        with suppress(StorageError):
            return _checked(path, number)
    return None


def _tenant_folders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if _FOLDER.fullmatch(path.name))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StorageError(f"{folder} cannot be read: {error.strerror or error}") from error


def _generations(folder: Path, pattern: re.Pattern[str]) -> dict[int, Path]:
    """Files by their numbers, the oldest first."""
    try:
        found = {int(name[1]): path for path in folder.iterdir() if (name := pattern.fullmatch(path.name))}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise StorageError(f"{folder} cannot be read: {error.strerror or error}") from error
    return dict(sorted(found.items()))
