"""Traps after Python's `faulthandler` took over the process's signals: a trap that came as a signal would be
taken for a crash, and end the process."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.packs.guide import block, build_pack
from tests.packs.pack_copies import TRUSTED
from tests.packs.test_faults import TINY

pytestmark = pytest.mark.usefixtures("home")
COLUMNS = 48
"""A width that neither the comparison nor the model has: here each call traps."""
RECURSION = """
__attribute__((noinline)) static uint32_t call_deeper(uint32_t depth) {
    __asm__ volatile("" : "+r"(depth));
    uint32_t below = call_deeper(depth + 1);
    __asm__ volatile("" : "+r"(below));
    return below + 1;
}
"""
# What the kernel does, what the runtime calls it, and how it is counted in a generation.
TRAPS = {
    "out_of_bounds_read": ("(void)*(volatile uint32_t *)0xfffffff0u;", "MemoryAccessViolation", "trap"),
    "out_of_bounds_write": ("*(volatile uint32_t *)0x7ffffff0u = 1;", "MemoryAccessViolation", "trap"),
    "unreachable": ("__builtin_trap();", "Unreachable", "trap"),
    "stack_overflow": ("*(volatile uint32_t *)64 = call_deeper(0);", "StackOverflow", "trap"),
    "division_by_zero": (
        "volatile int32_t some = 7, zero = 0; volatile int32_t none = some / zero; (void)none;",
        "IntegerDivisionByZero",
        "trap",
    ),
    "division_overflow": (
        "volatile int32_t least = INT32_MIN, one = -1; volatile int32_t none = least / one; (void)none;",
        "IntegerOverflow",
        "trap",
    ),
    "endless_loop": ("for (volatile uint32_t spin = 0;; spin++) {}", "EpochDeadline", "deadline"),
}
PROGRAM = """
import sys, threading
import numpy as np
from ruvllm.errors import KernelError
from ruvllm.llm import LLM
from ruvllm.packs import KernelRuntime
from ruvllm.params import GenerateParams

model, pack, columns, kind, reason = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], sys.argv[5]
greedy = GenerateParams(temperature=0.0, repetition_penalty=1.0, max_tokens=40, ignore_eos=True)
with LLM(model) as llm:
    expected = llm.generate([1, 2, 3, 4], greedy).token_ids

def trap():
    try:
        runtime.rms_norm(np.ones((1, columns), np.float32), np.ones(columns, np.float32))
    except KernelError as error:
        kinds.append(error.kind)

def generate():
    texts.append(llm.generate([1, 2, 3, 4], greedy).token_ids)

kinds, texts = [], []
with LLM(model, kernel_pack=pack) as llm:
    runtime = KernelRuntime(pack)
    import faulthandler
    faulthandler.enable()
    for work in (trap, generate):
        work()
        worker = threading.Thread(target=work)
        worker.start()
        worker.join()
    stats, current = llm.stats().kernel_pack, llm.kernel_packs.current()
assert faulthandler.is_enabled()
assert kinds == [kind, kind], kinds
assert texts == [expected, expected], texts
assert set(stats.fallbacks["rmsnorm"]) == {reason}, stats
assert stats.fallbacks["rmsnorm"][reason] >= 2 and stats.calls["rmsnorm"] > 0, stats
assert not current.is_broken
print("alive")
"""


@pytest.mark.parametrize("trap", TRAPS)
def test_case_56_a_trap_after_faulthandler_was_enabled(
    trap: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the calling thread, in another one, and on the engine's threads amid a generation."""
    monkeypatch.setenv("RUVLLM_TRUSTED_KEYS", TRUSTED)
    code, kind, reason = TRAPS[trap]
    read = "    READ_CALL(call, d, params)\n"
    # A generation has some 200 calls. Whatever traps loses its count with its instance.
    when = f"params.columns == {COLUMNS} || ++calls % 120 == 0"
    fault = f"    static uint32_t calls;\n{read}    if ({when}) {{ {code} }}\n"
    source = (
        block("rmsnorm.c")
        .replace(read, fault)
        .replace("static int32_t check", f"{RECURSION}static int32_t check")
    )
    pack = build_pack(tmp_path, source)
    command = [sys.executable, "-c", PROGRAM, str(TINY), str(pack), str(COLUMNS), kind, reason]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr
