"""How files of adapters are read: what stands in them, a piece at a time."""

import json
import struct
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from ruvllm.adapters.tensors import MAX_HEAD_BYTES, read_tensors
from ruvllm.errors import AdapterError


def test_tensors_are_what_was_written(tmp_path: Path) -> None:
    numbers = np.random.default_rng(0)
    written = {
        "a": numbers.standard_normal((3, 5)).astype(np.float32),
        "b": numbers.standard_normal((7, 2)).astype(np.float16),
        "c": numbers.standard_normal(4),
    }
    save_file(written, tmp_path / "x.safetensors", metadata={"format": "pt"})
    found = read_tensors(tmp_path / "x.safetensors")
    assert set(found) == set(written)
    for name, values in written.items():
        # What is f16 stays so; everything else is f32.
        kind = np.float16 if name == "b" else np.float32
        assert found[name].values.dtype == kind
        np.testing.assert_array_equal(found[name].values, values.astype(kind))


def test_what_is_no_number_is_seen(tmp_path: Path) -> None:
    broken = np.ones((3, 4), np.float16)
    broken[2, 3] = np.inf
    save_file({"whole": np.ones(4, np.float32), "broken": broken}, tmp_path / "x")
    found = read_tensors(tmp_path / "x")
    assert {name: tensor.is_finite for name, tensor in found.items()} == {"whole": True, "broken": False}


def test_bf16_is_the_upper_half_of_an_f32(tmp_path: Path) -> None:
    values = np.array([1.0, -2.5, 0.15625, 3e38], np.float32)
    halves = (values.view(np.uint32) >> 16).astype("<u2")
    head = json.dumps({"x": {"dtype": "BF16", "shape": [2, 2], "data_offsets": [0, 8]}}).encode()
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", len(head)) + head + halves.tobytes())
    expected = (halves.astype(np.uint32) << 16).view(np.float32).reshape(2, 2)
    np.testing.assert_array_equal(read_tensors(path)["x"].values, expected)


@pytest.mark.parametrize("head_bytes", [MAX_HEAD_BYTES + 1, 2**63, 2**64 - 1])
def test_a_head_that_is_larger_than_any_adapter_s_is_not_read(tmp_path: Path, head_bytes: int) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", head_bytes) + b"{}")
    with pytest.raises(AdapterError, match="head"):
        read_tensors(path)


@pytest.fixture
def quick_switches() -> Iterator[None]:
    """Threads hand the interpreter over as they do in a server."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.0001)
    yield
    sys.setswitchinterval(before)


@pytest.mark.alone
@pytest.mark.usefixtures("quick_switches")
def test_other_threads_go_on_while_one_reads(tmp_path: Path) -> None:
    """A server streams meanwhile: no single call may take as long as the whole file."""
    save_file({f"{number}": np.ones((64, 4096), np.float32) for number in range(64)}, tmp_path / "x")
    ends = threading.Event()
    longest = 0.0

    def tick() -> None:
        nonlocal longest
        last = time.perf_counter()
        while not ends.wait(0.0005):
            now = time.perf_counter()
            longest, last = max(longest, now - last), now

    thread = threading.Thread(target=tick, daemon=True)
    thread.start()
    shares = []
    # A busy machine may halt both threads, but not each time.
    for _ in range(8):
        longest, began = 0.0, time.perf_counter()
        read_tensors(tmp_path / "x")
        shares.append(longest / (time.perf_counter() - began))
    ends.set()
    thread.join()
    assert min(shares) < 0.25
