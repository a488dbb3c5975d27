"""The learning journal: nothing that was confirmed is lost, nothing that was altered is believed."""

import json
import math
import os
import random
import re
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ruvllm.errors import ConfigError, InvalidOperationError, StorageError
from ruvllm.learning import journal as journal_module
from ruvllm.learning.journal import Journal, JournalSettings
from ruvllm.learning.journal_entry import JournalEntry
from ruvllm.learning.journal_files import JournalReading, read_journal

WRITER = Path(__file__).with_name("journal_writer.py")
unix = pytest.mark.skipif(os.name == "nt", reason="signals, modes, locks and limits of Unix")


def entry(number: int = 0, tenant: str = "ada", **members: Any) -> JournalEntry:
    return JournalEntry(tenant=tenant, loop="instant", applied=True, generation_after=number, **members)


def numbers(reading: JournalReading) -> list[int | None]:
    return [one.generation_after for _, one in reading.entries]


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("journal-*.jsonl"))


@contextmanager
def held_up(journal: Journal) -> Iterator[None]:
    """The disk takes nothing while the block runs; what is written then waits in the thread's hands."""
    free = threading.Event()
    add = journal._files.add
    journal._files.add = lambda entries: (free.wait(), add(entries))  # type: ignore[assignment]
    try:
        yield
    finally:
        free.set()


def write_some(folder: Path, count: int, **settings: Any) -> None:
    with Journal(folder, JournalSettings(**settings)) as journal:
        for number in range(count):
            journal.record(entry(number))


# -- what an entry says


def test_all_that_an_entry_says_comes_back(tmp_path: Path) -> None:
    said = JournalEntry(
        tenant='a "tenant"\n\u2028 of \U0001f600 and \ud800',
        loop="background",
        applied=False,
        reason="the drift would be 0.9, above 0.5",
        completion_id="chatcmpl-1",
        feedback=-0.25,
        advantage=-0.75,
        generation_before=3,
        generation_after=np.int64(4),  # type: ignore[arg-type]
        kl=np.float32(0.5),  # type: ignore[arg-type]
        drift=1e-300,
        log_prob_change=math.inf,
        num_samples=12,
        latency_us=731,
        time=1.5,
    )
    with Journal(tmp_path) as journal:
        journal.record(said)
        journal.record(entry(feedback=math.nan))
    (_, first), (_, second) = read_journal(tmp_path).entries
    assert first == said
    assert math.isnan(second.feedback or 0)
    assert abs(second.time - time.time()) < 3600
    for line in files(tmp_path)[0].read_bytes().splitlines():
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


@pytest.mark.parametrize(
    "members", [{"feedback": "0.5"}, {"generation_after": 0.5}, {"loop": "nightly"}, {"kl": object()}]
)
def test_what_is_no_entry_is_refused_where_it_is_made(members: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(members))):
        JournalEntry(**{"tenant": "ada", "loop": "instant", "applied": True} | members)


def test_texts_are_not_written_unless_asked_for(tmp_path: Path) -> None:
    secret, answer = "the patient's name is Bob", "he has a cold\ud800"
    for name, keeps in (("without", False), ("with", True), ("other", False)):
        folder = tmp_path / name
        with Journal(folder, JournalSettings(keep_texts=keeps)) as journal:
            for _ in range(2):
                journal.record(entry(), request=secret, response=answer)
        with Journal(folder) as journal:
            journal.record(entry(), request=secret, response="another")
        text = b"".join(path.read_bytes() for path in files(folder))
        assert (b"Bob" in text) == (b"cold" in text) == keeps
    found = {name: [one for _, one in read_journal(tmp_path / name).entries] for name in ("without", "other")}
    notes = [one.request for one in found["without"]]
    assert notes[0] is not None
    assert notes[0].characters == len(secret)
    # The same text is known again, after a restart too; not from one journal to another.
    assert notes[0] == notes[1] == notes[2]
    assert notes[0] != found["other"][0].request
    assert found["without"][0].response != found["without"][2].response


def test_a_long_text_from_outside_makes_no_long_line(tmp_path: Path) -> None:
    with Journal(tmp_path, JournalSettings(keep_texts=True)) as journal:
        long = "\U0001f600" * 1_000_000
        said = JournalEntry(tenant=long, loop="instant", applied=False, reason=long, completion_id=long)
        journal.record(said, request=long, response=long)
    assert files(tmp_path)[0].stat().st_size < 64 * 1024
    ((_, found),) = read_journal(tmp_path).entries
    assert found.request is not None
    assert found.request.characters == len(long)


# -- when it is written


def test_a_full_batch_is_written_at_once_and_a_small_one_when_it_has_waited(tmp_path: Path) -> None:
    with Journal(tmp_path / "full", JournalSettings(batch_entries=10, batch_seconds=3600)) as journal:
        for number in range(25):
            journal.record(entry(number))
        wait_for(lambda: journal.stats().written == 20)
        assert journal.stats().waiting == 5
    assert numbers(read_journal(tmp_path / "full")) == list(range(25))
    with Journal(tmp_path / "small", JournalSettings(batch_entries=10, batch_seconds=0.2)) as journal:
        journal.record(entry())
        assert journal.stats().written == 0
        wait_for(lambda: journal.stats().written == 1)


def wait_for(condition: Any, seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.005)


def test_the_defaults_are_those_that_are_promised() -> None:
    settings = JournalSettings()
    assert (settings.batch_entries, settings.batch_seconds, settings.max_waiting) == (100, 1.0, 10_000)
    assert not settings.fsync
    assert not settings.keep_texts


def test_a_full_queue_refuses_after_its_time_and_drops_nothing(tmp_path: Path) -> None:
    with Journal(tmp_path, JournalSettings(batch_entries=1, max_waiting=50, wait_seconds=0.1)) as journal:
        with held_up(journal):
            for number in range(50):
                journal.record(entry(number))
            with pytest.raises(StorageError, match="50 entries wait"):
                journal.record(entry(99))
            with pytest.raises(StorageError, match="50 entries wait"):
                journal.record(entry(99), seconds=0)
            # Whoever waits longer gets in once there is room.
            patient = threading.Thread(target=journal.record, args=(entry(50),), kwargs={"seconds": 60})
            patient.start()
        patient.join()
        journal.flush()
        assert journal.stats().refused == 2
    assert numbers(read_journal(tmp_path)) == list(range(51))


def test_room_is_asked_for_before_the_update(tmp_path: Path) -> None:
    with Journal(tmp_path, JournalSettings(max_waiting=2, batch_seconds=3600)) as journal:
        with journal.room() as record, journal.room() as other:
            with pytest.raises(StorageError), journal.room(0):
                pytest.fail("there is no room")
            record(entry(1))
            with pytest.raises(InvalidOperationError, match="one entry"):
                record(entry(1))
            other(entry(2))
        journal.flush()
        # A place that is not used is free again, whatever ended the block.
        for _ in range(5):
            with pytest.raises(ZeroDivisionError), journal.room(0), journal.room(0):
                raise ZeroDivisionError
    assert numbers(read_journal(tmp_path)) == [1, 2]


def test_many_threads_lose_nothing(tmp_path: Path) -> None:
    threads = 8
    with Journal(tmp_path, JournalSettings(max_waiting=20, file_bytes=8192, max_files=1000)) as journal:

        def record(tenant: str) -> None:
            for number in range(200):
                journal.record(entry(number, tenant), seconds=60)

        running = [threading.Thread(target=record, args=(str(one),)) for one in range(threads)]
        for one in running:
            one.start()
        for one in running:
            one.join()
    reading = read_journal(tmp_path)
    assert not reading.faults
    assert [number for number, _ in reading.entries] == list(range(1, 200 * threads + 1))
    for one in range(threads):
        assert numbers(read_journal(tmp_path, tenant=str(one))) == list(range(200))
    assert numbers(read_journal(tmp_path, tenant="3", last=2)) == [198, 199]
    assert len(files(tmp_path)) > 10


@unix
def test_fsync_is_done_where_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ruvllm.learning import journal_files

    synced: list[int] = []
    monkeypatch.setattr(journal_files, "fsync", synced.append)
    for syncs in (False, True):
        with Journal(tmp_path / f"{syncs}", JournalSettings(fsync=syncs)) as journal:
            journal.record(entry())
        assert bool(synced) == syncs


# -- killed, torn, altered


@unix
@pytest.mark.parametrize("seed", range(3))
def test_what_flush_confirmed_outlives_kill_9(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    confirmed: dict[str, int] = {}
    with subprocess.Popen(
        [sys.executable, str(WRITER), str(tmp_path), "3", "20000"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            name, count = line.split()
            confirmed[name] = int(count)
            if sum(confirmed.values()) > 300:
                break
        time.sleep(chance.uniform(0, 0.03))
        process.kill()
        for line in process.stdout:
            if line.endswith("\n"):  # it may be killed between two pieces of a line
                name, count = line.split()
                confirmed[name] = int(count)
    write_some(tmp_path, 1)  # whoever opens it next cuts what is torn
    reading = read_journal(tmp_path)
    assert not reading.faults
    for name, count in confirmed.items():
        found = [one.generation_after for _, one in reading.entries if one.tenant == name]
        assert len(found) >= count
        assert found == list(range(1, len(found) + 1))


@pytest.mark.parametrize("kept", [1, 10, -1])
def test_a_torn_last_line_is_cut_and_nothing_else(tmp_path: Path, kept: int) -> None:
    write_some(tmp_path, 5)
    (path,) = files(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]) + lines[-1][:kept])
    reading = read_journal(tmp_path)
    assert numbers(reading) == [0, 1, 2, 3]
    assert [(one.line, one.what) for one in reading.faults] == [(6, "the last line is torn")]
    write_some(tmp_path, 1)
    reading = read_journal(tmp_path)
    assert numbers(reading) == [0, 1, 2, 3, 0]
    assert not reading.faults
    assert files(tmp_path) == [path]


def altered(data: bytes, how: str) -> bytes:
    lines = data.splitlines(keepends=True)
    if how == "a number":
        lines[3] = lines[3].replace(b'"generation_after":2', b'"generation_after":7')
    elif how == "its check":
        lines[3] = re.sub(rb'"check":"(.)', lambda found: found[0][:-1] + bytes([found[1][0] ^ 1]), lines[3])
    elif how == "a line taken out":
        del lines[3]
    elif how == "two lines exchanged":
        lines[3], lines[4] = lines[4], lines[3]
    elif how == "a line twice":
        lines.insert(3, lines[3])
    elif how == "zeros":
        lines[3] = bytes(len(lines[3]) - 1) + b"\n"
    elif how == "an endless line":
        lines[3] = b"x" * 10_000_000
    elif how == "no JSON":
        lines[3] = b"[" * 60_000 + b"\n"
    return b"".join(lines)


@pytest.mark.parametrize(
    "how",
    [
        "a number",
        "its check",
        "a line taken out",
        "two lines exchanged",
        "a line twice",
        "zeros",
        "an endless line",
        "no JSON",
    ],
)
def test_an_altered_line_is_found_and_kept_for_who_looks(tmp_path: Path, how: str) -> None:
    write_some(tmp_path, 6)
    (path,) = files(tmp_path)
    before = path.read_bytes()
    after = altered(before, how)
    assert after != before
    path.write_bytes(after)
    for _ in range(2):
        reading = read_journal(tmp_path)
        assert (
            numbers(reading)[: 3 if how == "a line twice" else 2]
            == [0, 1, 2][: 3 if how == "a line twice" else 2]
        )
        assert reading.faults[0].line in (4, 5)
        assert reading.faults[0].file == path.name
        write_some(tmp_path, 2)  # goes on in a new file
        assert path.read_bytes() == after
    reading = read_journal(tmp_path)
    assert numbers(reading)[-4:] == [0, 1, 0, 1]
    assert len(reading.faults) == 1
    assert len(files(tmp_path)) == 2


def test_a_line_of_another_journal_does_not_belong(tmp_path: Path) -> None:
    """As it was written, with the number that is due; only not after the line before it."""
    for name in ("one", "two"):
        write_some(tmp_path / name, 6)
    (path,), (other,) = files(tmp_path / "one"), files(tmp_path / "two")
    lines = path.read_bytes().splitlines(keepends=True)
    lines[3] = other.read_bytes().splitlines(keepends=True)[3]
    path.write_bytes(b"".join(lines))
    reading = read_journal(tmp_path / "one")
    assert numbers(reading) == [0, 1]
    assert [one.line for one in reading.faults] == [4]


def test_a_file_that_is_taken_out_is_missed(tmp_path: Path) -> None:
    write_some(tmp_path, 300, file_bytes=4096, max_files=1000, batch_entries=10)
    assert len(files(tmp_path)) > 3
    assert not read_journal(tmp_path).faults
    files(tmp_path)[1].unlink()
    (fault,) = read_journal(tmp_path).faults
    assert (fault.file, fault.line) == (files(tmp_path)[1].name, 1)
    assert "missing" in fault.what


@pytest.mark.parametrize("head", [b"", b"\n", b"{}\n", b"\xff\n", b"[1]\n", b'{"check_before":1}\n'])
def test_a_file_with_no_head_stops_nobody(tmp_path: Path, head: bytes) -> None:
    write_some(tmp_path, 3)
    (tmp_path / "journal-00000002.jsonl").write_bytes(head)
    write_some(tmp_path, 3)
    reading = read_journal(tmp_path)
    assert [number for number, _ in reading.entries] == [1, 2, 3, 4, 5, 6]
    assert {one.file for one in reading.faults} == {"journal-00000002.jsonl"}


# -- files


def test_files_are_bounded_and_the_oldest_go(tmp_path: Path) -> None:
    write_some(tmp_path, 500, file_bytes=4096, max_files=3, batch_entries=5)
    assert len(files(tmp_path)) == 3
    # A batch may go over.
    assert all(path.stat().st_size < 4096 + 5 * 200 for path in files(tmp_path))
    reading = read_journal(tmp_path)
    assert not reading.faults
    found = numbers(reading)
    assert found == list(range(reading.num_gone, 500))
    assert reading.num_gone > 300
    assert reading.entries[0][0] == reading.num_gone + 1


@unix
def test_files_are_their_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write_some(tmp_path / "deep" / "journal", 300, file_bytes=4096)
        files(tmp_path / "deep" / "journal")[-1].chmod(0o666)
        write_some(tmp_path / "deep" / "journal", 3, file_bytes=2**20)
    finally:
        os.umask(before)
    for path in (tmp_path / "deep" / "journal").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert stat.S_IMODE((tmp_path / "deep" / "journal").stat().st_mode) == 0o700


@unix
def test_one_process_writes_and_others_read(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        with pytest.raises(StorageError, match="somebody else writes there"):
            Journal(tmp_path)
        program = (
            "import sys; from ruvllm.learning.journal import Journal\n"
            "try: Journal(sys.argv[1])\n"
            "except Exception as error: print(type(error).__name__)"
        )
        command = [sys.executable, "-c", program, str(tmp_path)]
        told = subprocess.run(command, capture_output=True, text=True, check=True)
        assert told.stdout == "StorageError\n"
        journal.record(entry(1))
        journal.flush()
        assert numbers(read_journal(tmp_path)) == [1]
    write_some(tmp_path, 1)


@unix
def test_a_link_in_the_place_of_the_file_is_not_followed(tmp_path: Path) -> None:
    folder, victim = tmp_path / "journal", tmp_path / "victim"
    write_some(folder, 3)
    (path,) = files(folder)
    path.rename(victim)
    path.symlink_to(victim)
    before = victim.read_bytes()
    with pytest.raises(StorageError, match="no journal can be written"):
        Journal(folder)
    assert victim.read_bytes() == before


@unix
@pytest.mark.parametrize("how", ["removed", "replaced", "shortened"])
def test_a_file_that_others_touch_is_left_for_a_new_one(tmp_path: Path, how: str) -> None:
    with Journal(tmp_path) as journal:
        journal.record(entry(0))
        journal.flush()
        (path,) = files(tmp_path)
        if how == "removed":
            path.unlink()
        elif how == "replaced":
            (tmp_path / "other").write_bytes(path.read_bytes())
            (tmp_path / "other").replace(path)
        else:
            os.truncate(path, 10)
        journal.record(entry(1))
        journal.flush()
    reading = read_journal(tmp_path)
    assert numbers(reading)[-1] == 1
    assert bool(reading.faults) == (how == "shortened")


@unix
def test_a_full_disk_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real limit of the system: a file may not grow, in the middle of a batch."""
    import resource
    import signal

    monkeypatch.setattr(journal_module, "RETRY_SECONDS", 0.05)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with Journal(tmp_path, JournalSettings(max_waiting=60, wait_seconds=0.1)) as journal:
        for number in range(10):
            journal.record(entry(number))
        journal.flush()
        (path,) = files(tmp_path)
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 1000, hard))
        try:
            for number in range(10, 70):
                journal.record(entry(number))
            with pytest.raises(StorageError, match="not written: File too large"):
                journal.flush()
            with pytest.raises(StorageError, match=r"entries wait.*File too large"):
                journal.record(entry(99))
            assert journal.stats().failures >= 1
            assert numbers(read_journal(tmp_path)) == list(range(10))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            signal.signal(signal.SIGXFSZ, before)
        wait_for(lambda: journal.stats().waiting == 0)
        journal.record(entry(70))
    reading = read_journal(tmp_path)
    assert not reading.faults
    assert numbers(reading) == list(range(71))


def test_a_folder_that_is_none_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="no journal can be written"):
        Journal(tmp_path / "file")
    assert read_journal(tmp_path / "missing").entries == ()


# -- the end


def test_closed_is_closed(tmp_path: Path) -> None:
    journal = Journal(tmp_path, JournalSettings(batch_seconds=3600))
    journal.record(entry(1))
    with journal.room() as record:
        closing = threading.Thread(target=journal.close)
        closing.start()
        wait_for(lambda: journal._is_closing)
        record(entry(2))  # whoever had room still has it
    closing.join()
    assert numbers(read_journal(tmp_path)) == [1, 2]
    journal.close()
    with pytest.raises(InvalidOperationError, match="closed"):
        journal.record(entry(3))
    assert "learning-journal" not in {one.name for one in threading.enumerate()}


def test_a_program_that_forgets_to_close_loses_nothing(tmp_path: Path) -> None:
    program = (
        "import sys; from ruvllm.learning.journal import Journal\n"
        "from ruvllm.learning.journal_entry import JournalEntry\n"
        "Journal(sys.argv[1]).record(JournalEntry(tenant='ada', loop='reset', applied=True))"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True)
    ((_, found),) = read_journal(tmp_path).entries
    assert found.loop == "reset"
