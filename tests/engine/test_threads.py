"""Threads: as many as the process may use, and none of them busy while there is nothing to do."""

import os
import subprocess
import sys
import time

import pytest

from ruvllm import LLM, GenerateParams
from tests.conftest import FIXTURES

MODEL = FIXTURES / "gguf" / "llama-gqa.gguf"
IDLE_SECONDS = 1.0
IDLE_SHARE = 0.05  # of one core


def test_idle_workers_sleep() -> None:
    with LLM(MODEL, threads=4) as llm:
        llm.generate([5, 6, 7], GenerateParams(max_tokens=8))
        before = time.process_time()
        time.sleep(IDLE_SECONDS)
        assert time.process_time() - before < IDLE_SHARE * IDLE_SECONDS


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity masks")
def test_the_affinity_mask_decides() -> None:
    program = """
import os
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from ruvllm import _native
system = _native.System.detect()
assert system.threads == 1, system.threads
assert "affinity" in system.threads_reason, system.threads_reason
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)
