"""An index of the test's own wheels, and a Hub on this machine."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ruvllm.hub import RegistryEntry
from tests.hub.local_hub import LocalHub
from tests.hub.wheels import write_wheel


@pytest.fixture
def wheel_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that the real pip takes for its only index, through the user's own settings."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    return folder


@pytest.fixture
def publish(wheel_folder: Path) -> Callable[[RegistryEntry, list[bytes]], None]:
    def write(entry: RegistryEntry, pieces: list[bytes]) -> None:
        for part, piece in zip(entry.parts, pieces, strict=True):
            write_wheel(wheel_folder, part.package, {part.member: piece})

    return write


@pytest.fixture
def local_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    """A Hub of the test's own, which `huggingface_hub` takes for the Hub; its cache is empty."""
    from huggingface_hub import constants

    with LocalHub() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf-cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        yield hub
