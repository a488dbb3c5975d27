"""A bank on disk: there again after every end, also a sudden one, and believed only as far as it is whole."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ruvllm import ReasoningBank, Step, Trajectory, Verdict
from ruvllm.errors import NotFoundError, StorageError
from ruvllm.reasoning.frames import MAGIC, FrameReader, frame_bytes
from tests.reasoning.word_vectors import DIMENSIONS, word_vectors


def whole(number: int) -> Trajectory:
    """A trajectory that its number says all of."""
    return Trajectory(
        request=f"request {number} of {number % 7} and {number % 3} 🦀",
        steps=(Step(f"step {number}", "outcome"), Step("", "\x00\n")),
        response="é" * (number % 50),
        verdict=list(Verdict)[number % 4],
        quality=(number % 11) / 10,
    )


def content_of(bank: ReasoningBank) -> dict[int, Trajectory]:
    found = {}
    for number in range(1, 400):
        try:
            found[number] = bank.get(number)
        except NotFoundError:
            continue
    return found


def file_in(folder: Path) -> Path:
    (path,) = folder.glob("*/bank")
    return path


def opened(folder: Path, **keywords: Any) -> ReasoningBank:
    return ReasoningBank(word_vectors, folder, **keywords)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A bank of some changes of every kind."""
    with opened(tmp_path) as bank:
        bank.extend(map(whole, range(1, 12)))
        bank.forget(3, 5)
        bank.distill(3)
        bank.search("request 4", 3)
        bank.record(whole(12))
    return tmp_path


def test_what_was_there_is_there_again(tmp_path: Path) -> None:
    with opened(tmp_path, capacity=30) as bank:
        bank.extend(map(whole, range(1, 41)))
        bank.forget(35)
        patterns = bank.distill()
        for number in range(1, 4):
            bank.record(whole(40 + number))
        content, found = content_of(bank), bank.search("request 37 of 2", 9)
        patterns, figures = bank.patterns(), bank.stats()
    with opened(tmp_path, capacity=30) as bank:
        assert content_of(bank) == content
        assert bank.patterns() == patterns
        assert bank.search("request 37 of 2", 9) == found
        again = bank.stats()
        assert (again.undistilled, again.background) == (figures.undistilled, figures.background)
        assert bank.record(whole(44)) == 44


def test_how_often_it_was_found_is_there_again(tmp_path: Path) -> None:
    with opened(tmp_path, capacity=2) as bank:
        bank.extend([Trajectory(request="paint", quality=0.5), Trajectory(request="bake", quality=0.6)])
        bank.search("paint", 1)
    with opened(tmp_path, capacity=2) as bank:
        bank.record(Trajectory(request="sing"))
        assert bank.get(1).request == "paint"


def test_an_id_that_was_forgotten_last_is_not_given_again(folder: Path) -> None:
    with opened(folder) as bank:
        bank.forget(12)
    with opened(folder) as bank:
        assert bank.record(whole(13)) == 13


def test_what_is_forgotten_is_not_in_the_file(tmp_path: Path) -> None:
    with opened(tmp_path) as bank:
        bank.extend([Trajectory(request="a secret", response="hidden treasure"), whole(1)])
        assert b"hidden treasure" in file_in(tmp_path).read_bytes()
        bank.forget(1)
        assert b"hidden treasure" not in file_in(tmp_path).read_bytes()
    assert [path.name for path in file_in(tmp_path).parent.glob("*.part")] == []


def test_a_smaller_capacity_holds_at_once(folder: Path) -> None:
    with opened(folder, capacity=4) as bank:
        assert len(bank) == 4
    with opened(folder) as bank:
        assert len(bank) == 4


def test_the_file_does_not_grow_with_what_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ruvllm.reasoning.bank.LEAST_GROWTH_BYTES", 1000)
    sizes = []
    for _ in range(5):
        with opened(tmp_path, capacity=20) as bank:
            for number in range(60):
                bank.record(whole(number))
            sizes.append(bank.stats().file_bytes)
            assert sizes[-1] == file_in(tmp_path).stat().st_size
    assert max(sizes) < 30_000  # 20 of about 400 bytes, twice, and what each opening adds
    with opened(tmp_path, capacity=20) as bank:
        assert len(bank) == 20


def test_it_is_open_once_at_a_time(tmp_path: Path) -> None:
    with opened(tmp_path), pytest.raises(StorageError, match="open already"):
        opened(tmp_path)
    with opened(tmp_path, tenant="b"), opened(tmp_path):
        pass


def test_it_is_its_owners_alone(folder: Path) -> None:
    if sys.platform != "win32":
        assert file_in(folder).stat().st_mode & 0o077 == 0


def test_another_model_is_refused(folder: Path) -> None:
    def others(texts: list[str]) -> np.ndarray:
        return word_vectors([text[::-1] for text in texts])

    before = file_in(folder).read_bytes()
    with pytest.raises(StorageError, match="another model"):
        ReasoningBank(others, folder)
    with pytest.raises(StorageError, match=f"{DIMENSIONS} dimensions, and this model's 5"):
        ReasoningBank(lambda texts: np.ones((len(texts), 5)), folder)
    assert file_in(folder).read_bytes() == before


def test_another_tenants_file_is_refused(folder: Path) -> None:
    with opened(folder, tenant="b") as bank:
        bank.record(whole(1))
    first, second = folder.glob("*/bank")
    second.write_bytes(first.read_bytes())
    said = [refusal(folder, tenant=tenant) for tenant in ("default", "b")]
    assert [one is None for one in said].count(True) == 1
    assert "another tenant" in str(next(one for one in said if one is not None))


def refusal(folder: Path, **keywords: Any) -> StorageError | None:
    try:
        opened(folder, **keywords).close()
    except StorageError as error:
        return error
    return None


def test_a_torn_end_is_cut_off_wherever_it_is_torn(folder: Path) -> None:
    data = file_in(folder).read_bytes()
    ends = frame_ends(file_in(folder))
    last_before = ends[-2]
    with opened(folder) as bank:
        content = content_of(bank)
    inside = range(last_before, len(data))
    for length in {*inside[:20], *inside[20::23], len(data) - 1}:
        file_in(folder).write_bytes(data[:length])
        with opened(folder) as bank:
            assert content_of(bank).items() <= content.items()
            assert bank.record(whole(99)) >= 12
        with opened(folder) as bank:
            assert whole(99) in content_of(bank).values()


def test_a_last_change_that_is_not_whole_is_cut_off(folder: Path) -> None:
    """Its length is on the disk before the power fails, and not all of it."""
    path = file_in(folder)
    data, last = path.read_bytes(), frame_ends(path)[-2]
    path.write_bytes(data[: last + 30] + bytes(len(data) - last - 30))
    with opened(folder) as bank:
        content = content_of(bank)
        assert len(content) >= 9
        number = bank.record(whole(50))
    with opened(folder) as bank:
        assert content_of(bank) == {**content, number: whole(50)}


def test_zeros_at_the_end_are_cut_off(folder: Path) -> None:
    with opened(folder) as bank:
        content = content_of(bank)
    with file_in(folder).open("ab") as file:
        file.write(bytes(5000))
    with opened(folder) as bank:
        assert content_of(bank) == content


def test_no_changed_byte_is_believed(folder: Path) -> None:
    """Each one is refused, or is of the last frame, which might be torn: then that is what is missing."""
    with opened(folder) as bank:
        content = content_of(bank)
    path = file_in(folder)
    data, last = path.read_bytes(), frame_ends(path)[-2]
    source = np.random.default_rng(0)
    for place in [*range(60), *source.integers(60, len(data), 300).tolist()]:
        changed = bytearray(data)
        changed[place] ^= 1 << int(source.integers(8))
        path.write_bytes(changed)
        refused = refusal(folder)
        if refused is None:
            assert place >= last
            with opened(folder) as bank:
                assert content_of(bank).items() <= content.items()
        else:
            assert str(path) in str(refused)
            assert path.read_bytes() == changed, "what is refused stays as it is"


def frame_ends(path: Path) -> list[int]:
    with path.open("rb") as file:
        reader = FrameReader(file, path.stat().st_size)
        return [reader.sound_bytes for _ in reader]


def frames(path: Path) -> list[tuple[dict[str, Any], np.ndarray]]:
    with path.open("rb") as file:
        return [(one.content, one.floats) for one in FrameReader(file, path.stat().st_size)]


def unit() -> np.ndarray:
    return np.eye(DIMENSIONS, dtype=np.float32)[0]


def added(**changed: Any) -> dict[str, Any]:
    one = {"id": 50, "uses": 0, "trajectory": whole(1).members()} | changed
    return {"added": [one]}


def of_trajectory(**changed: Any) -> dict[str, Any]:
    return added(trajectory=whole(1).members() | changed)


def pattern(**changed: Any) -> dict[str, Any]:
    one = {"count": 1, "mean_quality": 0.5, "verdicts": {"success": 1}, "best": [1]} | changed
    return {"patterns": [one], "distilled_before": 5}


@pytest.mark.parametrize(
    ("content", "vectors"),
    [
        pytest.param({"erased": [1]}, [], id="unknown"),
        pytest.param(added(), [], id="no vector"),
        pytest.param(added(), [unit(), unit()], id="two vectors"),
        pytest.param(added(), [unit()[:5]], id="part of a vector"),
        pytest.param(added(), [unit() * 2], id="long vector"),
        pytest.param(added(), [unit() * np.nan], id="nan vector"),
        pytest.param(added(id=1), [unit()], id="id again"),
        pytest.param(added(id=-1), [unit()], id="negative id"),
        pytest.param(added(id=2**60), [unit()], id="large id"),
        pytest.param(added(id=True), [unit()], id="id is true"),
        pytest.param(added(id="50"), [unit()], id="id is text"),
        pytest.param(added(uses=-1), [unit()], id="uses"),
        pytest.param(added(trajectory=[]), [unit()], id="no trajectory"),
        pytest.param({"added": 5}, [], id="no list"),
        pytest.param({"added": {"id": 5}}, [unit()], id="no list of objects"),
        pytest.param(of_trajectory(quality=7), [unit()], id="quality"),
        pytest.param(of_trajectory(quality="1"), [unit()], id="quality is text"),
        pytest.param(of_trajectory(verdict="good"), [unit()], id="verdict"),
        pytest.param(of_trajectory(request=5), [unit()], id="request"),
        pytest.param(of_trajectory(request=""), [unit()], id="empty request"),
        pytest.param(of_trajectory(steps=[["a"]]), [unit()], id="half a step"),
        pytest.param(of_trajectory(steps=[[1, 2]]), [unit()], id="numbers for a step"),
        pytest.param(of_trajectory(response="x" * 300_000), [unit()], id="long response"),
        pytest.param({"dropped": [77]}, [], id="drops what is not there"),
        pytest.param({"dropped": [1, 1]}, [], id="drops twice"),
        pytest.param({"dropped": 1}, [], id="dropped is no list"),
        pytest.param({"uses": [[77, 1]]}, [], id="uses of nothing"),
        pytest.param({"uses": [[1]]}, [], id="half a use"),
        pytest.param({"background": 5}, [unit()], id="half a background"),
        pytest.param({"background": 0}, [unit(), unit() + 1], id="background of nothing"),
        pytest.param({"background": 5}, [unit(), unit()], id="spread of zero"),
        pytest.param({"background": 5}, [unit() * 3, unit() + 1], id="long mean"),
        pytest.param(pattern(), [], id="no middle"),
        pytest.param(pattern(mean_quality=float(2)), [unit()], id="mean quality"),
        pytest.param(pattern(mean_quality=None), [unit()], id="no mean quality"),
        pytest.param(pattern(count=0), [unit()], id="count"),
        pytest.param(pattern(verdicts={"good": 1}), [unit()], id="verdicts"),
        pytest.param(pattern(best=["1"]), [unit()], id="best"),
        pytest.param({"patterns": []}, [], id="not distilled"),
    ],
)
def test_no_content_is_believed_for_its_checks_alone(
    folder: Path, content: dict[str, Any], vectors: list[np.ndarray]
) -> None:
    path = file_in(folder)
    floats = np.concatenate(vectors) if vectors else np.zeros(0, np.float32)
    sound = frame_bytes({"dropped": [12]}, np.zeros(0, np.float32))
    data = path.read_bytes() + frame_bytes(content, floats) + sound
    path.write_bytes(data)
    with pytest.raises(StorageError, match="no bank that can be used"):
        opened(folder)
    assert path.read_bytes() == data


@pytest.mark.parametrize("text", [b"[]", b"{", b'{"dropped": NaN}', b"\xff", b'{"a":' * 9999, b"1" * 9999])
def test_what_is_no_json_is_refused(folder: Path, text: bytes) -> None:
    path = file_in(folder)
    good = frame_bytes({"dropped": []}, np.zeros(0, np.float32))
    # The same frame with another text and its checks.
    import struct
    from zlib import crc32

    head = struct.pack("<III", len(text), 0, crc32(text))
    path.write_bytes(path.read_bytes() + head + struct.pack("<I", crc32(head)) + text + good)
    with pytest.raises(StorageError, match="no bank that can be used"):
        opened(folder)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"bank": 2}, "format 2"),
        ({"tenant": "other"}, "another tenant"),
        ({"next_id": 0}, "next id is 0"),
        ({"next_id": "1"}, "next id is '1'"),
    ],
)
def test_another_head_is_refused(folder: Path, changed: dict[str, Any], says: str) -> None:
    path = file_in(folder)
    (head, probe), *rest = frames(path)
    parts = [frame_bytes(content, floats) for content, floats in rest]
    path.write_bytes(b"".join([MAGIC, frame_bytes(head | changed, probe), *parts]))
    with pytest.raises(StorageError, match=says):
        opened(folder)


@pytest.mark.parametrize(
    "data", [b"", b"RUVBANK", b"RUVBANK\n", b"GGUF" * 100, bytes(100), MAGIC + b"\xff" * 100]
)
def test_what_is_no_bank_is_refused(folder: Path, data: bytes) -> None:
    file_in(folder).write_bytes(data)
    with pytest.raises(StorageError):
        opened(folder)
    assert file_in(folder).read_bytes() == data


def test_a_folder_in_its_place_is_refused(folder: Path) -> None:
    path = file_in(folder)
    path.unlink()
    path.mkdir()
    with pytest.raises(StorageError, match="cannot be read"):
        opened(folder)


WRITER = """
import sys
from ruvllm import ReasoningBank
from tests.reasoning.test_bank_file import content_of, whole
from tests.reasoning.word_vectors import word_vectors
bank = ReasoningBank(word_vectors, sys.argv[1], capacity=40)
number = max(content_of(bank), default=0)
while True:
    number = bank.record(whole(number + 1))
    if number % 13 == 0:
        bank.forget(min(content_of(bank)))
    if number % 17 == 0:
        bank.distill(3)
    print(number, flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.parametrize("kept", [1, 30, 64])
def test_a_killed_process_has_kept_what_it_was_told(tmp_path: Path, kept: int) -> None:
    last = 0
    for _ in range(2):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        with process:
            assert process.stdout is not None
            for line in process.stdout:
                last = int(line)
                if last >= kept:
                    break
            time.sleep(0.003)
            process.send_signal(signal.SIGKILL)
            told = [int(line) for line in process.stdout if line.endswith("\n")]
        last = max([last, *told])
        assert process.returncode == -signal.SIGKILL
        with opened(tmp_path, capacity=40) as bank:
            content = content_of(bank)
            assert max(content) in (last, last + 1), "it was told that this one was recorded"
            assert len(content) <= 40
            for number, trajectory in content.items():
                assert trajectory == whole(number)
        kept += last


@pytest.mark.skipif(sys.platform == "win32", reason="there is no bound for the length of files")
def test_a_full_disk_is_told_and_nothing_is_lost(tmp_path: Path) -> None:
    program = """
import resource, sys
from ruvllm import ReasoningBank, StorageError
from tests.reasoning.test_bank_file import content_of, whole
from tests.reasoning.word_vectors import word_vectors
with ReasoningBank(word_vectors, sys.argv[1]) as bank:
    bank.record(whole(1))
    most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (bank.stats().file_bytes + 100, most))
    for _ in range(3):
        try:
            bank.record(whole(2))
        except StorageError as error:
            print(error)
    assert content_of(bank) == {1: whole(1)}
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    assert bank.record(whole(2)) == 2
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("cannot be written") == 3
    with opened(tmp_path) as bank:
        assert content_of(bank) == {1: whole(1), 2: whole(2)}


def no_folder(folder: Path) -> Path:
    (folder / "file").write_bytes(b"")
    return folder / "file"


@pytest.mark.parametrize("place", [no_folder])
def test_a_place_where_nothing_can_be_is_refused(tmp_path: Path, place: Callable[[Path], Path]) -> None:
    with pytest.raises(StorageError, match="cannot be opened"):
        opened(place(tmp_path))


@pytest.fixture(autouse=True)
def from_the_root() -> Iterator[None]:
    """The programs above import the tests."""
    root = str(Path(__file__).resolve().parents[2])
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [root, before]))
    yield
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before
