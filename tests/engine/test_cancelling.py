"""Cancelling within a long prompt, and signals, with the real engine and a real model."""

import asyncio
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ruvllm import LLM, GenerateParams

pytestmark = [pytest.mark.alone, pytest.mark.real_model]

# Many seconds of prefill, were it not for the cancelling. `PART` is a sixteenth of it, takes far less than a
# sixteenth of its time, and says how fast this machine is now: what does not wait for the prompt is done in
# the time of a few parts.
LONG = [100 + index % 1000 for index in range(8000)]
PART = LONG[500:1000]
PARAMS = GenerateParams(max_tokens=5, ignore_eos=True)


@pytest.fixture(scope="module")
def soon(smollm2: LLM) -> float:
    """Seconds in which whatever does not wait for the long prompt is done: those of two parts."""
    began = time.monotonic()
    smollm2.generate(PART, GenerateParams(max_tokens=1, cache_prefix=False))
    return max(1.0, 2 * (time.monotonic() - began))


def wait_until_free(llm: LLM, seconds: float) -> None:
    end = time.monotonic() + seconds
    while llm.memory_stats().running_requests or llm.memory_stats().kv_used_bytes:
        assert time.monotonic() < end, "the engine did not let go"
        time.sleep(0.005)


def test_closing_a_stream_within_its_prompt(smollm2: LLM, soon: float) -> None:
    stream = smollm2.stream(LONG, PARAMS)
    time.sleep(0.2)
    assert smollm2.memory_stats().running_requests == 1
    stream.close()
    wait_until_free(smollm2, soon)


async def test_cancelling_a_task_within_its_prompt(smollm2: LLM, soon: float) -> None:
    async def read() -> None:
        async for _ in smollm2.astream(LONG, PARAMS):
            pytest.fail("the prompt was too short for this test")

    reader = asyncio.create_task(read())
    await asyncio.sleep(0.2)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    await asyncio.to_thread(wait_until_free, smollm2, soon)


async def test_the_event_loop_stays_free_within_a_prompt(smollm2: LLM) -> None:
    async def read() -> int:
        return len([chunk async for chunk in smollm2.astream(LONG[:1500], PARAMS)])

    async def longest_pause() -> float:
        reader = asyncio.create_task(read())
        longest = 0.0
        while not reader.done():
            before = time.monotonic()
            await asyncio.sleep(0.005)
            longest = max(longest, time.monotonic() - before)
        assert await reader == 6
        return longest

    # On a busy machine other programs pause it too, so the best of a few counts.
    pauses = [await longest_pause() for _ in range(4)]
    assert min(pauses) < 0.25


def test_a_short_request_does_not_wait_for_a_long_prompt(smollm2: LLM) -> None:
    """Another tenant's has all of its answer, step after step, while most of the prompt is to be computed."""
    prompt = LONG[:3000][::-1]
    times: list[float] = []

    def read() -> None:
        smollm2.generate(prompt, GenerateParams(max_tokens=1, cache_prefix=False))
        times.append(time.monotonic())

    began = time.monotonic()
    reader = threading.Thread(target=read)
    reader.start()
    while not smollm2.memory_stats().running_requests:
        assert reader.is_alive()
        time.sleep(0.002)
    assert len(smollm2.generate([100, 101], PARAMS, tenant="another").token_ids) == 5
    answered = time.monotonic()
    assert not times, "the prompt was through first"
    reader.join()
    assert answered - began < (times[0] - began) / 2


# It says how long a part of the prompt takes, and then goes into all of it.
BEGINNING = """
import sys, time
from ruvllm import LLM, GenerateParams
llm = LLM(sys.argv[1])
prompt = [100 + index % 1000 for index in range(8000)]
began = time.monotonic()
llm.generate(prompt[500:1000], GenerateParams(max_tokens=1, cache_prefix=False))
print(time.monotonic() - began, flush=True)
"""

INTERRUPTED = """
try:
    llm.generate(prompt, GenerateParams(max_tokens=5, ignore_eos=True))
except KeyboardInterrupt:
    print("interrupted", flush=True)
    print(len(llm.generate([100, 101], GenerateParams(max_tokens=3, ignore_eos=True)).token_ids), flush=True)
"""

LEAVING = """
stream = llm.stream(prompt)
time.sleep(0.2)
print("leaving", llm.memory_stats().running_requests, flush=True)
"""


@contextmanager
def program(ending: str, path: Path) -> Iterator[tuple[subprocess.Popen[str], float]]:
    """The process at the end of its beginning, and the seconds of two parts of the prompt in it."""
    command = [sys.executable, "-c", BEGINNING + ending, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process, max(1.0, 2 * float(process.stdout.readline()))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send")
def test_control_c_within_a_prompt(smollm2_path: Path) -> None:
    with program(INTERRUPTED, smollm2_path) as (process, soon):
        assert process.stdout is not None
        time.sleep(0.3)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "interrupted\n"
        assert time.monotonic() - began < soon
        assert process.stdout.readline() == "3\n"
        assert process.wait(10) == 0


def test_an_exit_while_the_engine_works(smollm2_path: Path) -> None:
    """A program that ends without closing ends quietly, whatever the engine is doing."""
    with program(LEAVING, smollm2_path) as (process, soon):
        assert process.stdout is not None
        assert process.stdout.readline() == "leaving 1\n"
        began = time.monotonic()
        output, errors = process.communicate(timeout=50)
        assert time.monotonic() - began < 2 * soon
        assert (process.returncode, output, errors) == (0, "", "")
