"""Two thousand saves of a prefix cache, eight at once, by processes that are killed at random moments."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ruvllm import LLM
from tests.attacks import saving
from tests.conftest import FIXTURES

pytestmark = pytest.mark.skipif(os.name == "nt", reason="forks and SIGKILL are Unix's")

MODEL = FIXTURES / "gguf" / "llama-gqa.gguf"
SAVES = 2000


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A place in memory where one may be mounted: two thousand saves on a disk take as long as its fsync."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(tmp_path)], capture_output=True, check=False
    )
    try:
        yield tmp_path
    finally:
        if mounted.returncode == 0:
            subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


@pytest.fixture(scope="module")
def known_sizes(tmp_path_factory: pytest.TempPathFactory) -> dict[int, int]:
    """The sizes of all files that can be, and how many entries each has."""
    sizes = {}
    for prompts in range(1, saving.MAX_PROMPTS + 1):
        path = tmp_path_factory.mktemp("known") / "prefixes"
        with saving.filled(MODEL, prompts) as llm:
            entries = llm.prefix_cache.save(path)
        sizes[path.stat().st_size] = entries
    assert len(sizes) == saving.MAX_PROMPTS
    assert min(sizes) > saving.FULL_BYTES
    return sizes


def assert_whole(llm: LLM, file: Path, sizes: dict[int, int]) -> None:
    llm.prefix_cache.clear()
    loaded = llm.prefix_cache.load(file)
    assert loaded.entries == loaded.entries_in_file == sizes[file.stat().st_size]


def test_fault_5_saves_that_are_killed(folder: Path, tmp_path_factory: pytest.TempPathFactory, known_sizes):
    target, victim = folder / "tiny.prefixes", folder / "victim"
    victim.write_text("mine")
    planted = [target.with_name(f"{target.name}.part"), folder / f".{target.name}.part"]
    for link in planted:
        link.symlink_to(victim)
    saves = SAVES if os.path.ismount(folder) else SAVES // 5
    seen = tmp_path_factory.mktemp("seen") / "prefixes"
    command = [sys.executable, saving.__file__, str(MODEL), str(target), str(saves), "1"]
    samples = 0
    with (
        saving.filled(MODEL, 1) as reader,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as savers,
    ):
        while savers.poll() is None:
            if target.exists():
                seen.write_bytes(target.read_bytes())
                assert_whole(reader, seen, known_sizes)
                samples += 1
        assert savers.stdout is not None
        outcome = json.loads(savers.stdout.read())
        # What the last ones left goes with the next save; nothing else was left.
        left = set(folder.iterdir()) - {target, victim, *planted}
        assert len(left) <= saving.PROCESSES, left
        assert_whole(reader, target, known_sizes)
        reader.prefix_cache.save(target)
    assert set(folder.iterdir()) == {target, victim, *planted}
    assert victim.read_text() == "mine"
    assert target.stat().st_mode & 0o777 == 0o600
    assert outcome["saved"] >= saves
    assert outcome["killed"] >= 5
    assert outcome["full"] > 0, "the disk was never full"
    assert outcome["otherwise"] == 0, "a save met another one, or what was left"
    assert samples >= 20
