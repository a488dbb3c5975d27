"""Broken models give an error of this package that says what is wrong, at once and in little memory.

The larger corpus stands in rust/formats/tests; here it is the whole way from Python, and what only the engine
can see: tensors that are missing, too many, of the wrong shape or type, or not finite.
"""

import ctypes
import sys
import time
from pathlib import Path

import pytest

import ruvllm
from ruvllm.errors import IoError, ModelError, NotFoundError, RuvLLMError
from tests.hostile.broken_models import (
    FOLDER,
    GGUF,
    GGUF_FILES,
    Q4_0,
    Q4_K,
    Q6_K,
    Q8_0,
    SAFETENSORS_FOLDERS,
    Broken,
    quantize,
    widen,
)  # fmt: skip
from tests.hostile.gguf_file import GgufFile

try:
    import resource
except ModuleNotFoundError:  # Windows
    resource = None

# Each file is bound to a time, and to memory that the process may take.
pytestmark = pytest.mark.alone

LONGEST_SECONDS = 1.0
MOST_BYTES = 100_000_000
RUSAGE_UNIT = 1 if sys.platform == "darwin" else 1024


def peak_bytes() -> int:
    """The most memory that this process ever had resident; 0 where the system does not tell."""
    if resource is None:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RUSAGE_UNIT


def forget_peak() -> None:
    """Where the system can do it, the peak begins anew, so that growth below an old peak shows.

    What the allocator keeps of tests before goes back first: memory that comes out of it was resident already
    and would not show as growth.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


@pytest.fixture(scope="module", autouse=True)
def _warm() -> None:
    """What a first load brings in - the library's pages, a thread pool's stacks - is no file's doing."""
    ruvllm.LLM(GGUF).close()


@pytest.mark.parametrize("broken", [*GGUF_FILES, *SAFETENSORS_FOLDERS], ids=lambda broken: broken.name)
def test_a_broken_model_is_refused(broken: Broken, tmp_path: Path) -> None:
    path = broken.make(tmp_path)
    forget_peak()
    peak_before = peak_bytes()
    begin = time.perf_counter()
    with pytest.raises((ModelError, IoError)) as caught:
        ruvllm.LLM(path)
    seconds = time.perf_counter() - begin
    grown = peak_bytes() - peak_before
    assert isinstance(caught.value, RuvLLMError)
    message = str(caught.value)
    assert [word for word in broken.words if word not in message] == [], message
    assert message.isprintable()
    assert len(message.replace(str(tmp_path), "")) < 600
    assert seconds < LONGEST_SECONDS, message
    assert grown < MOST_BYTES, message


@pytest.mark.skipif(resource is None, reason="Windows does not tell a peak in this way")
@pytest.mark.parametrize("kept_bytes", [0, 300_000_000], ids=["fresh", "kept"])
def test_the_measure_sees_memory(kept_bytes: int) -> None:
    """Also in a process whose allocator keeps much: what was freed below a piece that is still in use."""
    below = [bytearray(b"x") * 100_000 for _ in range(kept_bytes // 100_000)]
    in_use = bytearray(b"x") * 100_000
    del below
    forget_peak()
    before = peak_bytes()
    assert len(bytearray(b"x") * 150_000_000) == 150_000_000
    assert peak_bytes() - before > MOST_BYTES
    assert len(in_use) == 100_000


def test_a_path_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"nothing\.gguf"):
        ruvllm.LLM(tmp_path / "nothing.gguf")


def test_the_files_are_good_before_they_are_broken(tmp_path: Path) -> None:
    """Taken apart and put together they are the same, so a row fails for what it changed."""
    assert GgufFile.read(GGUF).to_bytes() == GGUF.read_bytes()
    with ruvllm.LLM(FOLDER) as llm:
        assert llm.logits([1, 2]).shape == (2, 320)


@pytest.mark.parametrize("kind", [Q4_0, Q8_0, Q4_K, Q6_K])
def test_zeros_in_blocks_are_good_before_a_scale_is_broken(kind: int, tmp_path: Path) -> None:
    file = GgufFile.read(GGUF)
    if kind in (Q4_K, Q6_K):
        widen(file, kind)
    else:
        quantize(file.tensor("blk.1.ffn_up.weight"), kind)
    path = tmp_path / "model.gguf"
    path.write_bytes(file.to_bytes())
    with ruvllm.LLM(path) as llm:
        assert llm.logits([1, 2, 3]).shape == (3, 320)


def test_the_engine_lives_on_after_a_hundred_broken_models(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    data = GGUF.read_bytes()
    for length in range(0, len(data), len(data) // 100):
        path.write_bytes(data[:length])
        with pytest.raises(ModelError):
            ruvllm.LLM(path)
    with ruvllm.LLM(GGUF) as llm:
        assert len(llm.generate("the a", ruvllm.GenerateParams(max_tokens=4)).token_ids) > 0
