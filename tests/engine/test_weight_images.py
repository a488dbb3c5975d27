"""Weights that were packed before: the same answers from an image as without, and processes that share it."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from ruvllm import LLM, GenerateParams, IoError
from ruvllm.runtime import weight_images
from ruvllm.runtime.weight_images import ImageChoice
from tests.conftest import FIXTURES

TINY = FIXTURES / "gguf" / "llama-gqa.gguf"
PARAMS = GenerateParams(max_tokens=12, temperature=0.8, seed=3, logprobs=2)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of its own, in which nothing is prepared."""
    monkeypatch.setenv("RUVLLM_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def answer(model: Path, **settings: str) -> tuple[list[int], list[float]]:
    with LLM(model, max_context=64, **settings) as llm:  # type: ignore[arg-type]
        done = llm.generate([1, 5, 9], PARAMS)
    assert done.logprobs is not None
    return list(done.token_ids), [one.logprob for one in done.logprobs]


MAPS = """
import sys
from ruvllm import LLM
with LLM(sys.argv[1], max_context=64, weight_image=sys.argv[2]):
    print(open("/proc/self/maps").read())
"""


def is_mapped(image: Path, setting: str) -> bool:
    """Whether an engine has it mapped, in a process in which no other one was."""
    command = [sys.executable, "-c", MAPS, str(TINY), setting]
    return str(image) in subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("name", ["gguf/llama-gqa.gguf", "models/gemma3-dual-rope", "models/phi3-fused"])
def test_an_image_gives_the_same_answers_to_the_bit(name: str, cache: Path) -> None:
    model = FIXTURES / name
    plain = answer(model, weight_image="off")
    assert not cache.exists()
    assert answer(model) == plain
    assert not list(weight_images.images_in())
    assert answer(model, weight_image="keep") == plain
    [image] = weight_images.images_in()
    made = image.path.stat()
    assert answer(model) == plain
    assert answer(model, weight_image="keep") == plain
    assert image.path.stat().st_mtime_ns == made.st_mtime_ns


@pytest.mark.skipif(sys.platform != "linux", reason="what is mapped is read from /proc")
def test_use_maps_what_is_prepared_and_off_does_not() -> None:
    image, was_there = weight_images.prepare(TINY)
    assert (image.model, was_there) == ("llama-gqa", False)
    assert weight_images.prepare(TINY) == (image, True)
    assert is_mapped(image.path, "use")
    assert not is_mapped(image.path, "off")


def test_a_damaged_image_is_said_and_not_used(cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    plain = answer(TINY, weight_image="off")
    image, _ = weight_images.prepare(TINY)
    content = bytearray(image.path.read_bytes())
    content[len(content) // 2] ^= 1
    image.path.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert answer(TINY) == plain
    assert "not those that were written" in caplog.text
    assert weight_images.prepare(TINY) == (image, False), "it is made anew"
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        assert answer(TINY) == plain
    assert not caplog.records


def test_an_image_that_cannot_be_written(cache: Path) -> None:
    cache.parent.mkdir(exist_ok=True)
    cache.write_text("a file is in the way", encoding="utf-8")
    with pytest.raises(IoError, match=r"no image of llama-gqa\.gguf could be kept"):
        weight_images.prepare(TINY)
    assert answer(TINY, weight_image="keep") == answer(TINY, weight_image="off")


def test_nothing_is_looked_for_where_nothing_was_prepared(tmp_path: Path) -> None:
    assert ImageChoice.of("use", TINY, tmp_path) == ImageChoice(folder=None, keep=False)
    (tmp_path / "images").mkdir()
    assert ImageChoice.of("use", TINY, tmp_path) == ImageChoice(str(tmp_path / "images"), keep=False)


def test_none_is_kept_where_it_would_fill_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def left(num_bytes: int) -> ImageChoice:
        monkeypatch.setattr("shutil.disk_usage", lambda path: _Usage(num_bytes))
        return ImageChoice.of("keep", TINY, tmp_path)

    size = TINY.stat().st_size
    assert left(2 * size + weight_images.SPARE_BYTES).keep
    with caplog.at_level(logging.WARNING):
        assert not left(size + weight_images.SPARE_BYTES).keep
    assert "bytes left" in caplog.text


class _Usage:
    def __init__(self, free: int) -> None:
        self.free = free


SECOND = """
import sys
from ruvllm import LLM, GenerateParams
with LLM(sys.argv[1], max_context=128) as llm:
    llm.generate([1, 5, 9], GenerateParams(max_tokens=4, ignore_eos=True))
    rows = dict(row.split(":", 1) for row in open("/proc/self/status") if ":" in row)
    print(int(rows["RssAnon"].split()[0]) * 1024)
"""


@pytest.mark.real_model
@pytest.mark.skipif(sys.platform != "linux", reason="memory by kind is read from /proc")
def test_processes_share_the_weights(smollm2_path: Path) -> None:
    """What a process has of its own without the image and with it: less by most of the weights."""

    def own_bytes() -> int:
        command = [sys.executable, "-c", SECOND, str(smollm2_path)]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    before = own_bytes()
    weight_images.prepare(smollm2_path)
    assert before - own_bytes() > 0.9 * smollm2_path.stat().st_size
