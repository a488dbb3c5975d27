"""What tenants have learned, on disk: whole or not there, of this model and this tenant, or refused."""

import json
import logging
import os
import random
import stat
import subprocess
import sys
import time
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save as save_tensors

from ruvllm.errors import ConfigError, NotFoundError, RuvLLMError, StorageError
from ruvllm.learning import state as state_module
from ruvllm.learning.state import TenantStates, stored_tenants
from ruvllm.learning.state_file import MATRICES, SavedState, read_state, written_state
from ruvllm.learning.tenant_state import TenantState
from tests.learning.state_writer import MODEL, SHAPE, state_of

WRITER = Path(__file__).with_name("state_writer.py")
unix = pytest.mark.skipif(os.name == "nt", reason="signals, modes, locks and limits of Unix")


def assert_same(found: TenantState | None, expected: TenantState) -> None:
    assert found is not None
    for one in fields(TenantState):
        np.testing.assert_array_equal(getattr(found, one.name), getattr(expected, one.name), one.name)
        assert type(getattr(found, one.name)) is type(getattr(expected, one.name))


def some_state(seed: int, **changed: Any) -> TenantState:
    numbers = np.random.default_rng(seed)
    matrices = {name: numbers.standard_normal(SHAPE, np.float32) for name in MATRICES}
    matrices |= {name: np.abs(matrices[name]) for name in ("fisher_a", "fisher_b")}
    return replace(state_of(seed), scale=1 / 3, baseline=-1e-300, **{**matrices, **changed})


def opened(folder: Path, **settings: Any) -> TenantStates:
    return TenantStates(folder, **{"model": MODEL, "max_generations": 4} | settings)


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*/*") if path.is_file())


# -- there and back


def test_all_of_a_state_comes_back_bit_for_bit(tmp_path: Path) -> None:
    states = [some_state(seed, tenant=f"tenant {seed}") for seed in range(3)]
    with opened(tmp_path) as kept:
        for one in states:
            kept.save(one)
    with opened(tmp_path) as kept:
        for one in states:
            found = kept.load(one.tenant)
            assert_same(found, one)
            assert found is not None
            assert not any(getattr(found, name).flags.writeable for name in MATRICES)
        assert kept.load("somebody else") is None
        assert kept.tenants() == ["tenant 0", "tenant 1", "tenant 2"]


def test_the_newest_counts_and_older_ones_are_kept_up_to_a_bound(tmp_path: Path) -> None:
    with opened(tmp_path) as kept:
        for generation in (1, 2, 3, 9, 10, 11, 100):
            kept.save(state_of(generation))
        assert kept.generations("ada") == [9, 10, 11, 100]
        assert_same(kept.load("ada"), state_of(100))
        assert_same(kept.generation("ada", 10), state_of(10))
        with pytest.raises(NotFoundError, match=r"generation 3 is not kept; there are \[9, 10, 11, 100\]"):
            kept.generation("ada", 3)
        (found,) = stored_tenants(tmp_path)
        assert found.earlier == (9, 10, 11)
        assert found.model == MODEL
        assert_same(found.state, state_of(100))
        kept.forget("ada")
        kept.forget("ada")
        assert kept.load("ada") is None
    assert [path.name for path in tmp_path.iterdir()] == [".owned"]


def test_what_was_undone_does_not_come_back(tmp_path: Path) -> None:
    """On disk is what can be undone to in memory, and nothing else, however the process ended."""
    with opened(tmp_path, max_generations=10) as kept:
        states = [state_of(number) for number in range(6)]
        kept.save(states[3], states[:3])  # the ones before come with it
        assert kept.generations("ada") == [0, 1, 2, 3]
        undone = replace(states[1], generation=4)
        kept.save(undone, states[:1])
        assert kept.generations("ada") == [0, 4]
        # As if it had been killed before it removed them.
        for number in (2, 3):
            kept._write(SavedState(states[number], MODEL, tuple(range(number))))
        assert_same(kept.load("ada"), undone)
        for found, expected in zip(kept.earlier("ada"), states[:1], strict=True):
            assert_same(found, expected)
        kept.save(states[5], [states[0], undone])
        assert kept.generations("ada") == [0, 4, 5]
        assert [one.generation for one in kept.earlier("ada")] == [0, 4]
        # One that is damaged cannot be undone to.
        files(tmp_path)[0].write_bytes(b"")
        assert [one.generation for one in kept.earlier("ada")] == [4]
    with opened(tmp_path, max_generations=2) as kept:
        kept.save(states[5], [states[0], undone])
        assert kept.generations("ada") == [4, 5]


NAMES = ["", ".", "..", "../../../evil", "/etc/passwd", "a/b\\c", "nul", "x\0y", "\n", "\ud800", "ü" * 4096]


@pytest.mark.parametrize("tenant", NAMES, ids=lambda name: repr(name)[:16])
def test_no_name_leads_out_of_the_folder(tmp_path: Path, tenant: str) -> None:
    folder = tmp_path / "deep" / "tenants"
    with opened(folder) as kept:
        kept.save(state_of(1, tenant))
        assert_same(kept.load(tenant), state_of(1, tenant))
        assert kept.tenants() == [tenant]
    everything = {path.relative_to(tmp_path) for path in tmp_path.rglob("*")}
    assert all(path.is_relative_to("deep") for path in everything)
    assert len(everything) == 5  # two folders, what owns, the tenant's, the file


def test_names_that_differ_are_tenants_that_differ(tmp_path: Path) -> None:
    names = ["ada", "Ada", "ada ", "a\u0301da", "\xe1da", "org/ada", "org"]
    with opened(tmp_path) as kept:
        for number, name in enumerate(names):
            kept.save(state_of(number, name))
        for number, name in enumerate(names):
            assert_same(kept.load(name), state_of(number, name))


# -- what is damaged


def test_any_wrong_bit_is_found(tmp_path: Path) -> None:
    data, chance = written_state(SavedState(some_state(1), MODEL, (0,))), random.Random(1)
    head_bytes = int.from_bytes(data[:8], "little") + 8
    places = [*range(0, head_bytes, 3), *(chance.randrange(head_bytes, len(data)) for _ in range(200))]
    for place in places:
        wrong = bytearray(data)
        wrong[place] ^= 1 << chance.randrange(8)
        with pytest.raises(StorageError):
            read_state(bytes(wrong))
    for length in [*range(0, head_bytes, 7), len(data) - 1, len(data) // 2]:
        with pytest.raises(StorageError):
            read_state(data[:length])
    with pytest.raises(StorageError):
        read_state(data + b"\0")


def forged(**changed: Any) -> bytes:
    """A file with a digest that is right: as somebody may write one who knows how."""
    from ruvllm.learning.state_file import _digest

    written = written_state(SavedState(state_of(5), MODEL, (1, 4)))
    head_bytes = int.from_bytes(written[:8], "little")
    metadata = json.loads(written[8 : 8 + head_bytes])["__metadata__"]
    matrices = {name: np.array(getattr(state_of(5), name)) for name in MATRICES}
    metadata |= {name: value for name, value in changed.items() if isinstance(value, str)}
    matrices |= {name: value for name, value in changed.items() if not isinstance(value, str)}
    del metadata["digest"]
    return save_tensors(matrices, metadata={**metadata, "digest": _digest(metadata, matrices)})


def with_one(value: float) -> Any:
    matrix = np.ones(SHAPE, np.float32)
    matrix[1, 17] = value
    return matrix


FORGED = {
    "no number": {"a": with_one(np.nan)},
    "infinite": {"anchor_b": with_one(np.inf)},
    "negative importance": {"fisher_b": with_one(-1e-9)},
    "another width": {"b": np.ones((2, 575), np.float32)},
    "another type": {"b": np.ones(SHAPE, np.float64)},
    "a vector": {name: np.ones(576, np.float32) for name in MATRICES},
    "no rows": {name: np.ones((0, 576), np.float32) for name in MATRICES},
    "many rows": {name: np.ones((65, 8), np.float32) for name in MATRICES},
    "one more": {"c": np.ones(SHAPE, np.float32)},
    "an infinite scale": {"scale": "inf"},
    "a baseline that is none": {"baseline": "high"},
    "an overflow": {"scale": "0x1p+99999"},
    "a negative count": {"updates": "-1"},
    "a huge generation": {"generation": "9" * 5000},
    "an earlier one that is later": {"earlier": "[1, 5]"},
    "earlier ones that are none": {"earlier": "[true]"},
    "earlier ones in no order": {"earlier": "[4, 1]"},
    "another generation": {"generation": "6"},
    "a tenant that is no text": {"tenant": "17"},
    "a tenant that is deep": {"tenant": "[" * 50_000},
    "another tenant": {"tenant": '"bob"'},
}


@pytest.mark.parametrize("changed", FORGED.values(), ids=FORGED)
def test_what_is_not_a_state_is_set_aside_and_the_one_before_counts(
    tmp_path: Path, changed: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    with opened(tmp_path) as kept:
        kept.save(state_of(4))
        kept.save(state_of(5))
    newest = files(tmp_path)[-1]
    newest.write_bytes(forged(**changed))
    with caplog.at_level(logging.ERROR), opened(tmp_path) as kept:
        found = kept.load("ada")
    # Its number was used, so the restored one has the next.
    assert_same(found, replace(state_of(4), generation=6))
    assert f"{newest} is set aside as {newest.name}.broken" in caplog.text
    assert [path.name for path in files(tmp_path)] == [files(tmp_path)[0].name, f"{newest.name}.broken"]
    with opened(tmp_path) as kept:
        assert_same(kept.load("ada"), replace(state_of(4), generation=6))
        kept.save(replace(state_of(7), generation=7))
        assert_same(kept.load("ada"), state_of(7))


def test_what_a_later_version_wrote_is_refused_and_stays(tmp_path: Path) -> None:
    with opened(tmp_path) as kept:
        kept.save(state_of(4))
        kept.save(state_of(5))
        newest = files(tmp_path)[-1]
        newest.write_bytes(forged(format="2"))
        with pytest.raises(StorageError, match="it has format '2'; '1' is read"):
            kept.load("ada")
        assert newest in files(tmp_path)


def test_forging_alone_is_not_what_is_refused() -> None:
    assert_same(read_state(forged()).state, state_of(5))


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 8, b"\xff" * 100, b"PK\3\4" + b"\0" * 100, b"\x80\4.", bytes(20_000_000)]
)
def test_files_that_are_nothing_leave_nothing(tmp_path: Path, content: bytes) -> None:
    with opened(tmp_path) as kept:
        kept.save(state_of(1))
    (path,) = files(tmp_path)
    path.write_bytes(content)
    assert list(stored_tenants(tmp_path)) == []
    with opened(tmp_path) as kept:
        assert kept.load("ada") is None
        kept.save(state_of(2))
        assert_same(kept.load("ada"), state_of(2))


@unix
@pytest.mark.parametrize("kind", ["pipe", "folder", "link to itself"])
def test_what_is_no_file_stops_no_start(tmp_path: Path, kind: str) -> None:
    with opened(tmp_path) as kept:
        kept.save(state_of(1))
        kept.save(state_of(2))
    path = files(tmp_path)[-1]
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(path)
    with opened(tmp_path) as kept:
        assert_same(kept.load("ada"), replace(state_of(1), generation=3))


def test_another_models_state_is_refused_and_stays(tmp_path: Path) -> None:
    with opened(tmp_path) as kept:
        kept.save(state_of(3))
    before = {path: path.read_bytes() for path in files(tmp_path)}
    with opened(tmp_path, model="b" * 32) as kept:
        with pytest.raises(StorageError, match="was learned on another model"):
            kept.load("ada")
        with pytest.raises(StorageError, match="was learned on another model"):
            kept.generation("ada", 3)
    assert {path: path.read_bytes() for path in files(tmp_path)} == before
    with opened(tmp_path) as kept:
        assert_same(kept.load("ada"), state_of(3))


@unix
def test_what_cannot_be_read_now_is_not_taken_for_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path) as kept:
        kept.save(state_of(3))

        def failing(path: Path) -> Any:
            raise OSError(24, "Too many open files")

        with monkeypatch.context() as patched:
            patched.setattr(state_module.whole_file, "open_regular", failing)
            with pytest.raises(StorageError, match="Too many open files"):
                kept.load("ada")
        assert_same(kept.load("ada"), state_of(3))


@pytest.mark.parametrize(
    "changed",
    [
        {"a": with_one(np.nan)},
        {"fisher_a": with_one(-1)},
        {"b": np.ones((1, 576), np.float32)},
        {"scale": float("nan")},
        {"generation": -1},
        {"generation": 10**10},
        {"tenant": "x" * 4097},
    ],
)
def test_nothing_is_written_that_would_not_be_read(tmp_path: Path, changed: dict[str, Any]) -> None:
    with opened(tmp_path) as kept:
        kept.save(state_of(1))
        with pytest.raises(ConfigError):
            kept.save(replace(state_of(2), **changed))
        assert_same(kept.load("ada"), state_of(1))
    assert len(files(tmp_path)) == 1


# -- killed, full, shared


@unix
def test_what_was_saved_outlives_kill_9(tmp_path: Path) -> None:
    chance, saved = random.Random(5), 0
    for _ in range(6):
        with subprocess.Popen(
            [sys.executable, str(WRITER), str(tmp_path)], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            saved = int(process.stdout.readline())
            time.sleep(chance.uniform(0, 0.05))
            process.kill()
            for line in process.stdout:
                saved = int(line) if line.endswith("\n") else saved
        with opened(tmp_path) as kept:
            found = kept.load("ada")
            assert found is not None
            assert found.generation in (saved, saved + 1)
            assert_same(found, state_of(found.generation))
            for number in kept.generations("ada"):
                assert_same(kept.generation("ada", number), state_of(number))
    assert not list(tmp_path.rglob("*.broken"))


@unix
def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    import resource
    import signal

    with opened(tmp_path) as kept:
        kept.save(state_of(1))
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))
        try:
            with pytest.raises(StorageError, match=r"cannot be kept.*File too large"):
                kept.save(state_of(2))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            signal.signal(signal.SIGXFSZ, before)
        assert_same(kept.load("ada"), state_of(1))
    assert len(files(tmp_path)) == 1


@unix
def test_it_is_its_owners_alone_and_of_one_process(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with opened(tmp_path / "tenants") as kept:
            kept.save(state_of(1))
            with pytest.raises(StorageError, match="somebody else writes there"):
                opened(tmp_path / "tenants")
    finally:
        os.umask(before)
    for path in (tmp_path / "tenants").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)
    opened(tmp_path / "tenants").close()


def test_tenants_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_module, "MAX_TENANTS", 3)
    with opened(tmp_path) as kept:
        for name in "abc":
            kept.save(state_of(1, name))
        with pytest.raises(StorageError, match="holds 3 tenants"):
            kept.save(state_of(1, "d"))
        kept.save(state_of(2, "a"))
        kept.forget("b")
        kept.save(state_of(1, "d"))
        assert kept.tenants() == ["a", "c", "d"]


def test_a_place_that_is_no_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="nothing can be kept"):
        opened(tmp_path / "file")
    assert list(stored_tenants(tmp_path / "missing")) == []
    with pytest.raises(RuvLLMError):
        list(stored_tenants(tmp_path / "file"))
