"""Cancelling within a long prompt, and signals, with the real engine and a real model."""

import asyncio
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ruvllm import LLM, GenerateParams

pytestmark = pytest.mark.real_model

# Some seconds of prefill, were it not for the cancelling.
LONG = [100 + index % 1000 for index in range(8000)]
PARAMS = GenerateParams(max_tokens=5, ignore_eos=True)


def wait_until_free(llm: LLM, seconds: float) -> None:
    end = time.monotonic() + seconds
    while llm.memory_stats().running_requests or llm.memory_stats().kv_used_bytes:
        assert time.monotonic() < end, "the engine did not let go"
        time.sleep(0.005)


def test_closing_a_stream_within_its_prompt(smollm2: LLM) -> None:
    stream = smollm2.stream(LONG, PARAMS)
    time.sleep(0.2)
    assert smollm2.memory_stats().running_requests == 1
    stream.close()
    wait_until_free(smollm2, 1.0)


async def test_cancelling_a_task_within_its_prompt(smollm2: LLM) -> None:
    async def read() -> None:
        async for _ in smollm2.astream(LONG, PARAMS):
            pytest.fail("the prompt was too short for this test")

    reader = asyncio.create_task(read())
    await asyncio.sleep(0.2)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    await asyncio.to_thread(wait_until_free, smollm2, 1.0)


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
    stream = smollm2.stream(LONG, PARAMS)
    time.sleep(0.1)
    began = time.monotonic()
    smollm2.stream([100, 101], PARAMS).close()
    assert time.monotonic() - began < 0.1
    stream.close()
    wait_until_free(smollm2, 1.0)


PROGRAM = """
import sys, time
from ruvllm import LLM, GenerateParams
llm = LLM(sys.argv[1])
prompt = [100 + index % 1000 for index in range(8000)]
print("ready", flush=True)
try:
    llm.generate(prompt, GenerateParams(max_tokens=5, ignore_eos=True))
except KeyboardInterrupt:
    print("interrupted", flush=True)
    print(len(llm.generate([100, 101], GenerateParams(max_tokens=3, ignore_eos=True)).token_ids), flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send")
def test_control_c_within_a_prompt(smollm2_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(smollm2_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.3)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "interrupted\n"
        assert time.monotonic() - began < 1.0
        assert process.stdout.readline() == "3\n"
        assert process.wait(10) == 0


def test_an_exit_while_the_engine_works(smollm2_path: Path) -> None:
    """A program that ends without closing ends quietly, whatever the engine is doing."""
    program = PROGRAM.split("try:")[0] + "stream = llm.stream(prompt)\ntime.sleep(0.2)\n"
    began = time.monotonic()
    result = subprocess.run(
        [sys.executable, "-c", program, str(smollm2_path)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "ready\n", "")
    assert time.monotonic() - began < 5
