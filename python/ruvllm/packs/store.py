"""Installed packs: verified copies in the data folder, and which version a name means.

packs/installed/NAME/VERSION/    copies; verified again whenever they are loaded
packs/choices.json               the version that each name means, and the one before
packs/floors.json                the newest version that was active, kept by the engine
packs/trusted_keys/*.pub         the user's own trusted keys
"""

import json
import os
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ruvllm.whole_file as whole_file
from ruvllm.errors import IoError, NotFoundError, PackError, StorageError
from ruvllm.hub.storage import state_folder
from ruvllm.packs.pack import KernelPack, reference_pack

__all__ = ["REFERENCE", "InstalledPack", "PackStore", "find_pack"]

REFERENCE = "reference"
"""What the pack in the package is called wherever a pack is asked for."""

# As the manifest's own rules have it: nothing of this can leave a folder.
_NAME = re.compile(r"(?P<name>[a-z0-9-]{1,64})(?:@(?P<version>\d{1,9}\.\d{1,9}\.\d{1,9}))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class InstalledPack:
    """A version of an installed pack; `is_chosen` says that the name alone means it."""

    name: str
    version: str
    path: Path
    is_chosen: bool


def find_pack(pack: str | os.PathLike[str]) -> Path:
    """The folder of a pack: a folder itself, `reference`, or an installed `NAME` or `NAME@VERSION`."""
    if pack == REFERENCE:
        return reference_pack()
    if not isinstance(pack, str) or Path(pack).is_dir() or "/" in pack or os.sep in pack:
        return Path(pack)
    return PackStore().find(pack).path


class PackStore:
    """The installed packs of this user."""

    def __init__(self, folder: Path | None = None) -> None:
        """Work in `folder`, which is the data folder's `packs` by default."""
        self._folder = folder or state_folder() / "packs"
        self._installed = self._folder / "installed"
        self._choices_path = self._folder / "choices.json"

    @property
    def floors(self) -> Path:
        """The file in which the engine remembers the newest version of each name."""
        return self._folder / "floors.json"

    def list(self) -> tuple[InstalledPack, ...]:
        """What is installed, by name and version, the newest first."""
        choices = self._choices()
        found = [
            InstalledPack(
                name=path.parent.name,
                version=path.name,
                path=path,
                is_chosen=choices.get(path.parent.name, {}).get("current") == path.name,
            )
            for path in self._installed.glob("*/*")
            if path.is_dir() and _NAME.fullmatch(f"{path.parent.name}@{path.name}")
        ]
        found.sort(key=lambda one: _numbers(one.version), reverse=True)
        return tuple(sorted(found, key=lambda one: one.name))

    def find(self, reference: str) -> InstalledPack:
        """The pack that `NAME` or `NAME@VERSION` means; `NotFoundError` where there is none."""
        match = _NAME.fullmatch(reference)
        versions = [one for one in self.list() if match and one.name == match["name"]]
        if match is None or not versions:
            raise NotFoundError(
                f"no kernel pack {reference!r}: it is no folder, not {REFERENCE!r}, and not installed "
                "(`ruvllm packs list` shows what is)"
            )
        wanted = match["version"]
        for one in versions:
            if one.version == wanted if wanted else one.is_chosen:
                return one
        there = ", ".join(one.version for one in versions)
        what = f"version {wanted}" if wanted else "a chosen version; `ruvllm packs activate` chooses one"
        raise NotFoundError(f"the kernel pack {match['name']} has no {what}; installed: {there}")

    def install(
        self, source: str | os.PathLike[str], trusted_keys: Iterable[str] | None = None
    ) -> InstalledPack:
        """Verify a pack and copy it. A name's first version is what the name means; later ones wait.

        A version that is here with other contents is refused: a version is one thing for ever.
        """
        keys = None if trusted_keys is None else tuple(trusted_keys)
        pack = KernelPack.verify(source, keys)
        target = self._installed / pack.name / pack.version
        if target.exists():
            if KernelPack.verify(target, keys).digest != pack.digest:
                raise PackError.refused(
                    "OtherContents", f"pack {pack.name} {pack.version} is installed with other contents"
                )
        else:
            self._copy(pack, target, keys)
        if pack.name not in self._choices():
            self.choose(pack.name, pack.version)
        return self.find(f"{pack.name}@{pack.version}")

    def choose(self, name: str, version: str) -> InstalledPack:
        """Have a name mean this version from now on. Nothing that runs changes."""
        self.find(f"{name}@{version}")
        choices = self._choices()
        before = choices.get(name, {}).get("current")
        if before != version:
            choices[name] = {"current": version, "previous": before}
            self._write_choices(choices)
        return self.find(name)

    def previous(self, name: str) -> InstalledPack:
        """The version that the name meant before; `PackError` (`NoPreviousPack`) where there is none."""
        before = self._choices().get(name, {}).get("previous")
        if before is None:
            self.find(name)
            raise PackError.refused("NoPreviousPack", f"there is no version of {name} to go back to")
        return self.find(f"{name}@{before}")

    def _copy(self, pack: KernelPack, target: Path, keys: tuple[str, ...] | None) -> None:
        """Copy what the manifest names, verify the copy, and only then give it its place."""
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with whole_file.placing_folder(target) as copy:
                # The manifest was verified, its paths included; what is read here is verified below.
                manifest = json.loads((pack.path / "kernels.json").read_bytes())
                names = ["kernels.json", "kernels.json.sig", *(one["path"] for one in manifest["kernels"])]
                for name in names:
                    (copy / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(pack.path / name, copy / name, follow_symlinks=False)
                if KernelPack.verify(copy, keys).digest != pack.digest:
                    raise PackError.refused("File", f"{pack.path} changed while it was installed")
        except OSError as error:
            raise IoError(f"{target}: the pack cannot be installed: {error}") from error

    def _choices(self) -> dict[str, dict[str, Any]]:
        try:
            with whole_file.open_regular(self._choices_path) as file:
                choices = json.loads(file.read())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError) as error:
            raise StorageError(f"{self._choices_path} cannot be read: {error}") from error
        if not isinstance(choices, dict) or not all(isinstance(one, dict) for one in choices.values()):
            raise StorageError(f"{self._choices_path} is damaged; remove it and choose again")
        return choices

    def _write_choices(self, choices: dict[str, dict[str, Any]]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        with whole_file.replacing(self._choices_path) as file:
            file.write(json.dumps(choices, indent=2, sort_keys=True).encode())


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
