"""Caches that are reserved and hardly used do not keep a program from starting others."""

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from ruvllm import LLM

MODEL = Path(__file__).parents[1] / "fixtures" / "gguf" / "llama-gqa.gguf"
HUGE_PAGE_BYTES = 2 << 20
OVERCOMMIT = Path("/proc/sys/vm/overcommit_memory")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not count what is reserved")
def test_a_program_whose_caches_together_are_larger_than_memory_forks() -> None:
    """Linux puts mappings that touch together, and does not fork with one that is larger than memory."""
    if OVERCOMMIT.read_text() == "2\n":
        pytest.skip("this system lends no more memory than it has")
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    # Of this size they come to touch.
    reserved = memory * 2 // 5 // HUGE_PAGE_BYTES * HUGE_PAGE_BYTES
    with ExitStack() as engines:
        for _ in range(4):
            engines.enter_context(LLM(MODEL, kv_cache_bytes=reserved))
        # Without a function before the other program nothing is forked.
        assert subprocess.run(["true"], preexec_fn=lambda: None, check=False).returncode == 0
