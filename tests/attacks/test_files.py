"""Files hold: what is written is whole or not there, its owner's alone, and goes through no link."""

import multiprocessing
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import httpx
import numpy as np
import pytest

from ruvllm import LLM, GenerateParams, IoError, PrefixCache, StorageError, whole_file
from ruvllm.cli.saved_chats import save_conversation
from ruvllm.packs import make_key
from ruvllm.packs.store import PackStore
from ruvllm.runtime import engine_prefix_cache
from tests.conftest import FIXTURES
from tests.serve.conftest import TINY, tiny_chat_path
from tests.serve.process import ServeProcess, serving

__all__ = ["tiny_chat_path"]

pytestmark = pytest.mark.skipif(os.name == "nt", reason="modes, links, pipes and signals of Unix")

PROMPT = [(index * 3) % 300 + 5 for index in range(100)]


@pytest.fixture
def llm() -> Iterator[LLM]:
    with LLM(FIXTURES / "gguf" / "llama-gqa.gguf", max_context=512) as llm:
        llm.generate(PROMPT, GenerateParams(max_tokens=1))
        yield llm


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def write(path: Path, content: bytes = b"new", **settings: bool) -> None:
    with whole_file.replacing(path, **settings) as file:
        file.write(content)


# Everything that writes what nobody else shall read, each into a file of this name.
PRIVATE_WRITERS: dict[str, Callable[[Path, LLM], object]] = {
    "prefix cache": lambda path, llm: llm.prefix_cache.save(path),
    "array cache": lambda path, llm: PrefixCache().save(path),
    "conversation": lambda path, llm: save_conversation(
        [{"role": "user", "content": "hi"}], path, model="tiny"
    ),
    "any": lambda path, llm: write(path),
}
private = pytest.mark.parametrize("writer", PRIVATE_WRITERS.values(), ids=PRIVATE_WRITERS)
Writer = Callable[[Path, LLM], object]


# -- the server's file


def computed(server: ServeProcess) -> ServeProcess:
    body = {"model": TINY, "prompt": PROMPT, "max_tokens": 1}
    assert server.wait_until_ready().post("/v1/completions", **body).status_code == 200
    return server


def test_fault_5_parallel_saves_over_http(tiny_chat_path: Path, tmp_path: Path) -> None:
    with serving(tiny_chat_path, "--prefix-cache-dir", tmp_path) as server:
        url = f"{computed(server).url}/v1/cache/save"
        assert httpx.post(url, json={}).status_code == 200
        (file,) = tmp_path.iterdir()
        size, sizes = file.stat().st_size, set()
        with ThreadPoolExecutor(6) as pool:
            answers = [pool.submit(httpx.post, url, json={}, timeout=30) for _ in range(24)]
            while not all(answer.done() for answer in answers):
                sizes.add(file.stat().st_size)
        assert [answer.result().status_code for answer in answers] == [200] * 24
        assert sizes == {size}
        assert list(tmp_path.iterdir()) == [file]
        assert mode(file) == 0o600
        assert "Traceback" not in server.log


@pytest.fixture(scope="module")
def file_name(tiny_chat_path: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the server calls its file."""
    folder = tmp_path_factory.mktemp("named")
    with serving(tiny_chat_path, "--prefix-cache-dir", folder) as server:
        assert server.wait_until_ready().post("/v1/cache/save").status_code == 200
    (file,) = folder.iterdir()
    return file.name


@pytest.mark.parametrize("kind", ["pipe", "folder", "link to itself"])
def test_fault_5_a_start_with_no_file_in_the_place_of_one(
    tiny_chat_path: Path, file_name: str, tmp_path: Path, kind: str
) -> None:
    folder = tmp_path / "cache"
    folder.mkdir()
    file = folder / file_name
    with put_in_place(file, kind, tmp_path):
        with serving(tiny_chat_path, "--prefix-cache-dir", folder) as server:
            computed(server)
            assert "the prefix cache of the last run is not used" in server.log
            saved = server.post("/v1/cache/save")
            # A link that leads nowhere is replaced; what may be in use by others is not.
            assert saved.status_code == (200 if kind == "link to itself" else 507), saved.text
            server.process.send_signal(signal.SIGTERM)
            assert server.ended() == 0
            assert "Traceback" not in server.log
        assert list(folder.iterdir()) == [file]
        assert stat.S_ISREG(file.lstat().st_mode) == (kind == "link to itself")


@contextmanager
def put_in_place(path: Path, kind: str, elsewhere: Path) -> Iterator[None]:
    with suppress_privileges(), socket.socket(socket.AF_UNIX) as end:
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "device":
            path.symlink_to("/dev/zero")
        elif kind == "folder":
            path.mkdir()
        elif kind == "socket":
            end.bind(str(path))
        elif kind == "link to a pipe":
            os.mkfifo(elsewhere / "pipe")
            path.symlink_to(elsewhere / "pipe")
        else:
            path.symlink_to(path)
        yield


@contextmanager
def suppress_privileges() -> Iterator[None]:
    """Where a name is too long for a socket, or pipes cannot be made, there is nothing to try."""
    try:
        yield
    except (PermissionError, NotImplementedError) as error:
        pytest.skip(f"it cannot be made here: {error}")
    except OSError as error:
        if "AF_UNIX path too long" not in str(error):
            raise
        pytest.skip(str(error))


WRITER = """
import sys, time
from ruvllm import whole_file
with whole_file.replacing(sys.argv[1]) as file:
    file.write(b"x" * 100_000)
    file.flush()
    print("writing", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_writer(path: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process in the midst of writing a file."""
    command = [sys.executable, "-c", WRITER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        try:
            yield process
        finally:
            process.kill()


def test_fault_5_what_a_killed_save_left_goes_at_the_start(tiny_chat_path: Path, tmp_path: Path) -> None:
    with serving(tiny_chat_path, "--prefix-cache-dir", tmp_path) as server:
        computed(server)
        assert server.post("/v1/cache/save").status_code == 200
    (file,) = tmp_path.iterdir()
    before = file.read_bytes()
    with another_writer(file) as killed:
        killed.kill()
    assert len(list(tmp_path.iterdir())) == 2
    with another_writer(file) as alive:
        with serving(tiny_chat_path, "--prefix-cache-dir", tmp_path) as server:
            server.wait_until_ready()
            assert "are back" in server.log
            # The dead one's is gone; the other is being written.
            assert len(list(tmp_path.iterdir())) == 2
            assert file.read_bytes() == before
        alive.communicate("")
        assert alive.returncode == 0
    assert list(tmp_path.iterdir()) == [file]
    assert file.read_bytes() == b"x" * 100_000


# -- links, modes, names


@private
def test_fault_5_a_link_in_the_place_is_replaced(writer: Writer, tmp_path: Path, llm: LLM) -> None:
    for lead in ("victim", "missing", "target"):
        victim, target = tmp_path / "victim", tmp_path / "target"
        victim.write_text("mine")
        target.unlink(missing_ok=True)
        target.symlink_to(tmp_path / lead)
        writer(target, llm)
        assert stat.S_ISREG(target.lstat().st_mode)
        assert victim.read_text() == "mine"
    assert sorted(tmp_path.iterdir()) == [target, victim]


def test_fault_5_a_link_under_the_temporary_name(
    tmp_path: Path, llm: LLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can guess it; who could would get nothing for it."""
    victim = tmp_path / "victim"
    victim.write_text("mine")
    monkeypatch.setattr(whole_file.secrets, "token_hex", lambda size: "0" * 2 * size)
    planted = tmp_path / f".target.{'0' * 16}.part"
    for lead in (victim, tmp_path / "missing"):
        planted.unlink(missing_ok=True)
        planted.symlink_to(lead)
        with pytest.raises(StorageError, match="File exists"):
            llm.prefix_cache.save(tmp_path / "target")
        assert planted.is_symlink()
    planted.unlink()
    # A second name of the same file is no link that could be refused: only this name of it goes.
    planted.hardlink_to(victim)
    llm.prefix_cache.save(tmp_path / "target")
    assert victim.read_text() == "mine"
    assert sorted(tmp_path.iterdir()) == [tmp_path / "target", victim]


@private
@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077, 0o777])
def test_fault_5_it_is_its_owners_alone(writer: Writer, mask: int, tmp_path: Path, llm: LLM) -> None:
    with umask(mask):
        writer(tmp_path / "new", llm)
        (tmp_path / "old").touch()
        (tmp_path / "old").chmod(0o644)
        writer(tmp_path / "old", llm)
    assert [mode(path) for path in tmp_path.iterdir()] == [0o600, 0o600]


def test_it_is_private_while_it_is_written(tmp_path: Path) -> None:
    with umask(0), whole_file.replacing(tmp_path / "file") as file:
        file.write(b"half")
        file.flush()
        assert [mode(path) for path in tmp_path.iterdir()] == [0o600]


def test_what_is_shared_is_as_the_user_has_it(tmp_path: Path) -> None:
    for mask, expected in ((0o022, 0o644), (0o077, 0o600), (0o002, 0o664)):
        path = tmp_path / f"{mask}"
        with umask(mask):
            write(path, private=False)
        assert mode(path) == expected
        path.chmod(0o640)
        write(path, private=False)
        assert mode(path) == 0o640


NAMES = [
    "a" * 255,
    "é" * 127,
    "漢" * 85,
    "a" * 231,
    "a" * 232,
    "with space",
    "line\nbreak",
    ".*[a](",
    "-x",
    ".hidden",
    os.fsdecode(b"not utf-8 \xff"),
]


@pytest.mark.parametrize("name", NAMES, ids=lambda name: f"{len(name)} {name[:8]!r}")
def test_names_of_any_kind(name: str, tmp_path: Path, llm: LLM) -> None:
    path = tmp_path / name
    with another_writer(path) as killed:
        killed.kill()
    (left,) = tmp_path.iterdir()
    assert left != path
    llm.prefix_cache.save(path)
    assert list(tmp_path.iterdir()) == [path]
    assert llm.prefix_cache.load(path).entries_in_file > 0


def test_what_is_left_of_another_file_is_not_touched(tmp_path: Path) -> None:
    """`a` and `a.b`, `*` and what it would mean: each file has its own."""
    names = ["a", "a.b", "a.0123456789abcdef", "*", "b", "a" * 255, "a" * 254]
    for name in names:
        with another_writer(tmp_path / name) as killed:
            killed.kill()
    for done, name in enumerate(names):
        assert len(list(tmp_path.iterdir())) == len(names)
        write(tmp_path / name)
        assert {path.name for path in tmp_path.iterdir()} >= set(names[: done + 1])
    assert {path.name for path in tmp_path.iterdir()} == set(names)


def test_names_that_look_like_what_is_left(tmp_path: Path) -> None:
    """What nobody here has made stays, even under a name that fits."""
    (tmp_path / f".file.{'0' * 16}.part").symlink_to("/dev/null")
    os.mkfifo(tmp_path / f".file.{'1' * 16}.part")
    (tmp_path / ".file.short.part").touch()
    (tmp_path / "file.part").touch()
    before = set(tmp_path.iterdir())
    write(tmp_path / "file")
    assert set(tmp_path.iterdir()) == before | {tmp_path / "file"}


# -- whole or not at all


@private
def test_a_folder_that_is_not_there_or_may_not_be_written(writer: Writer, tmp_path: Path, llm: LLM) -> None:
    with pytest.raises((OSError, StorageError), match="No such file"):
        writer(tmp_path / "missing" / "file", llm)
    (tmp_path / "file").touch()
    with pytest.raises((OSError, StorageError), match="Not a directory"):
        writer(tmp_path / "file" / "file", llm)
    with pytest.raises((OSError, StorageError), match="it is a folder"):
        writer(tmp_path, llm)
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]
    if os.getuid() == 0:
        pytest.skip("root may write anywhere")
    tmp_path.chmod(0o500)
    with pytest.raises((OSError, StorageError), match="Permission denied"):
        writer(tmp_path / "file", llm)


@pytest.mark.parametrize("error", [OSError(28, "full"), KeyboardInterrupt(), MemoryError(), GeneratorExit()])
def test_whatever_ends_the_writing_leaves_the_old(error: BaseException, tmp_path: Path) -> None:
    write(tmp_path / "file", b"old")

    def write_half() -> None:
        with whole_file.replacing(tmp_path / "file") as file:
            file.write(b"half")
            raise error

    with pytest.raises(type(error)):
        write_half()
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="it has no device that is always full")
def test_a_disk_that_is_full_at_the_last_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of what was buffered could be written, which only the flush tells."""
    write(tmp_path / "file", b"old")
    opened = os.fdopen

    def full(descriptor: int, how: str) -> BinaryIO:
        device = os.open("/dev/full", os.O_WRONLY)
        os.dup2(device, descriptor)
        os.close(device)
        return opened(descriptor, how)

    monkeypatch.setattr(whole_file.os, "fdopen", full)
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path / "file")
    monkeypatch.undo()
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_the_disk_has_it_before_it_has_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file, then its name, then the folder that holds the name."""
    done: list[str] = []
    fsync, replace = os.fsync, os.replace

    def note_fsync(descriptor: int) -> None:
        found = os.fstat(descriptor)
        done.append("folder" if stat.S_ISDIR(found.st_mode) else f"file of {found.st_size}")
        fsync(descriptor)

    def note_replace(written: Path, target: Path) -> None:
        done.append("name")
        replace(written, target)

    monkeypatch.setattr(whole_file.os, "fsync", note_fsync)
    monkeypatch.setattr(whole_file.os, "replace", note_replace)
    write(tmp_path / "file", b"1234")
    assert done == ["file of 4", "name", "folder"]


def test_threads_take_turns(tmp_path: Path) -> None:
    path, contents = tmp_path / "file", [bytes([number]) * 70_000 for number in range(8)]
    seen, ended = set(), threading.Event()

    def look() -> None:
        while not ended.is_set():
            with suppress(FileNotFoundError):
                seen.add(path.read_bytes())

    with ThreadPoolExecutor(9) as pool:
        looking = pool.submit(look)
        writes = [pool.submit(write, path, content) for content in contents * 25]
        for done in writes:
            done.result()
        ended.set()
        looking.result()
    assert seen <= set(contents)
    assert list(tmp_path.iterdir()) == [path]


def test_different_files_do_not_wait_for_each_other(tmp_path: Path) -> None:
    with whole_file.replacing(tmp_path / "one") as one:
        one.write(b"1")
        write(tmp_path / "two")
        assert (tmp_path / "two").exists()
    # The same place by another way is the same place.
    (tmp_path / "way").symlink_to(tmp_path)
    with ThreadPoolExecutor(1) as pool:
        with whole_file.replacing(tmp_path / "one"):
            other = pool.submit(write, tmp_path / "way" / "one", b"other")
            with pytest.raises(TimeoutError):
                other.result(0.2)
        other.result()
    assert (tmp_path / "one").read_bytes() == b"other"


def test_a_file_that_must_be_new(tmp_path: Path) -> None:
    with umask(0o777), whole_file.creating(tmp_path / "file") as file:
        file.write(b"first")
    assert mode(tmp_path / "file") == 0o600
    (tmp_path / "link").symlink_to(tmp_path / "missing")
    for name in ("file", "link"):
        with pytest.raises(FileExistsError), whole_file.creating(tmp_path / name):
            pytest.fail("it was there")
    # Somebody else comes first, in the midst of it.
    with pytest.raises(FileExistsError), whole_file.creating(tmp_path / "late"):
        (tmp_path / "late").write_bytes(b"theirs")
    assert (tmp_path / "late").read_bytes() == b"theirs"
    assert {path.name for path in tmp_path.iterdir()} == {"file", "link", "late"}


def test_a_key_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert make_key(tmp_path / "key")
    assert mode(tmp_path / "key") == 0o600
    with monkeypatch.context() as patched:
        patched.setattr(whole_file.os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "full")))
        with pytest.raises(IoError, match="full"):
            make_key(tmp_path / "other")
    assert list(tmp_path.iterdir()) == [tmp_path / "key"]


def test_a_folder_is_whole_or_not_there(tmp_path: Path) -> None:
    target = tmp_path / "1.0.0"

    def fill_half() -> None:
        with whole_file.placing_folder(target) as folder:
            (folder / "half").touch()
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        fill_half()
    assert list(tmp_path.iterdir()) == []
    with whole_file.placing_folder(target) as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "file").write_text("whole")
        # Whoever cleans meanwhile sees that it is being filled.
        whole_file.remove_abandoned(target)
        assert not target.exists()
    assert [path.name for path in tmp_path.rglob("*")] == ["1.0.0", "sub", "file"]
    # What a dead process left: a folder nobody holds.
    (tmp_path / f".2.0.0.{'0' * 16}.part" / "sub").mkdir(parents=True)
    with whole_file.placing_folder(tmp_path / "2.0.0"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.0.0", "2.0.0"]


def write_in_a_child(path: Path) -> None:
    write(path, b"child")


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_in_the_midst_of_a_write(tmp_path: Path) -> None:
    """The child has its parent's locks, and nobody who would release them."""
    with whole_file.replacing(tmp_path / "file") as file:
        file.write(b"parent")
        child = multiprocessing.get_context("fork").Process(
            target=write_in_a_child, args=(tmp_path / "file",)
        )
        child.start()
        child.join(20)
        assert child.exitcode == 0
        assert (tmp_path / "file").read_bytes() == b"child"
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"parent"]


# -- what is read


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "socket", "link to a pipe", "link to itself"])
def test_fault_5_only_regular_files_are_read(kind: str, tmp_path: Path, llm: LLM) -> None:
    path = tmp_path / "choices.json"
    with put_in_place(path, kind, tmp_path):
        readers: list[Callable[[], object]] = [
            lambda: llm.prefix_cache.load(path),
            lambda: PrefixCache().load(path),
            PackStore(tmp_path).list,
        ]
        for read in readers:
            with pytest.raises(StorageError, match=r"cannot be (read|loaded)"):
                read()


def test_a_link_to_a_file_is_read(tmp_path: Path, llm: LLM) -> None:
    llm.prefix_cache.save(tmp_path / "file")
    (tmp_path / "link").symlink_to("file")
    assert llm.prefix_cache.load(tmp_path / "link").entries_in_file > 0


def test_choices_of_any_depth(tmp_path: Path) -> None:
    (tmp_path / "choices.json").write_text('{"a":' * 200_000)
    with pytest.raises(StorageError, match=r"choices\.json cannot be read"):
        PackStore(tmp_path).list()


# -- the engine goes on


class SlowDisk:
    """A file whose second piece waits until it is told to go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.may_go_on = threading.Event(), threading.Event()
        monkeypatch.setattr(engine_prefix_cache, "PIECE_BYTES", 1 << 13)
        monkeypatch.setattr(engine_prefix_cache.whole_file, "replacing", self._replacing)

    @contextmanager
    def _replacing(self, path: Path) -> Iterator["SlowDisk"]:
        with open(path, "wb") as self._file:
            yield self

    def write(self, piece: memoryview) -> None:
        if self._file.tell():
            self.reached.set()
            assert self.may_go_on.wait(30)
        self._file.write(piece)


@pytest.mark.parametrize("meanwhile", ["generate", "clear", "more"])
def test_requests_go_on_while_the_disk_is_slow(
    meanwhile: str, tmp_path: Path, llm: LLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = [[(index * 3 + salt) % 300 + 5 for index in range(100)] for salt in range(1, 5)]
    params = GenerateParams(max_tokens=4)
    for prompt in others:
        llm.generate(prompt, params)
    disk = SlowDisk(monkeypatch)
    with ThreadPoolExecutor(1) as pool:
        saving = pool.submit(llm.prefix_cache.save, tmp_path / "file")
        assert disk.reached.wait(30)
        if meanwhile == "clear":
            llm.prefix_cache.clear()
        # The engine's thread waits for nobody's disk.
        assert llm.generate(PROMPT[::-1], params).usage.completion_tokens == 4
        assert not saving.done()
        disk.may_go_on.set()
        entries = saving.result(30)
    llm.prefix_cache.clear()
    loaded = llm.prefix_cache.load(tmp_path / "file")
    assert loaded.entries == loaded.entries_in_file == entries
    whole = llm.generate([*others[0], 7], params).usage
    assert (whole.cached_tokens == len(others[0])) == (meanwhile != "clear")


def test_a_model_that_is_closed_while_it_is_saved(
    tmp_path: Path, llm: LLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = SlowDisk(monkeypatch)
    with ThreadPoolExecutor(1) as pool:
        saving = pool.submit(llm.prefix_cache.save, tmp_path / "file")
        assert disk.reached.wait(30)
        llm.close()
        disk.may_go_on.set()
        with pytest.raises(Exception, match="the model is closed"):
            saving.result(30)


def test_arrays_of_a_cache_that_changes_while_it_is_saved(tmp_path: Path) -> None:
    """Eight threads save, one inserts and clears: every file is of one moment."""
    cache, ended = PrefixCache(key="k"), threading.Event()

    def change() -> None:
        while not ended.is_set():
            for tokens in ([1, 2, 3], [1, 2, 4], [5]):
                array = np.full((1, 1, 1, len(tokens), 2), len(tokens), np.float32)
                cache.insert(tokens, array, array)
            cache.clear()

    with ThreadPoolExecutor(9) as pool:
        changing = pool.submit(change)
        for saved in [pool.submit(cache.save, tmp_path / "file") for _ in range(100)]:
            saved.result()
            loaded = PrefixCache(key="k").load(tmp_path / "file")
            assert loaded.entries == loaded.entries_in_file
        ended.set()
        changing.result()
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_much_that_was_left(tmp_path: Path) -> None:
    """A thousand dead ones and a live one."""
    for number in range(1000):
        (tmp_path / f".file.{number:016x}.part").touch()
    with another_writer(tmp_path / "file"):
        whole_file.remove_abandoned(tmp_path / "file")
        assert len(list(tmp_path.iterdir())) == 1
