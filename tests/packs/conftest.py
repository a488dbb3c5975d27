"""A data folder of the test's own, and no keys but the package's and the test's."""

from pathlib import Path

import pytest

from tests.packs.pack_copies import copy_pack


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder, and no trusted keys but the release's."""
    monkeypatch.delenv("RUVLLM_TRUSTED_KEYS", raising=False)
    monkeypatch.setenv("RUVLLM_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def my_pack(tmp_path: Path) -> Path:
    """The reference pack as another author's, signed."""
    return copy_pack(tmp_path / "my-pack")
