"""Beside busy programs: what is left of an engine's speed, and of its fair share of the processors.

    make bench-company                                    SmolLM2, alone and beside 1, 2 and 4 programs
    python -m benches.company [MODEL] [--threads N] [--peer-python PYTHON]

A busy program is a process with one thread that computes and never waits. The system shares the processors
among all threads that want to run, so beside B programs an engine of T threads on C processors has a fair
share of C / (T + B) of each thread's time, at most all of it. `kept` is the speed beside them, over the speed
alone before and after, over that share: an engine whose threads wait for one that the system has set aside
keeps less. The mark is 0.9.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benches import files
from benches.peers.engine import Engine
from benches.peers.environment import warn_of_company
from benches.workloads import token_ids
from ruvllm._native import System

__all__ = ["Kept", "fair_share", "kept_of"]

BUSY = "while True: pass"
PROGRAMS = (1, 2, 4)
TESTS = {"prefill": (512, 0), "decode": (16, 128)}
MARK = 0.9
# What any model has.
VOCABULARY = 32_000


@dataclass(frozen=True, slots=True)
class Kept:
    """What was left of a speed.

    Attributes:
        test: What was timed.
        programs: How many were busy.
        share: The fair share of the processors.
        kept: How much of that share it was.
    """

    test: str
    programs: int
    share: float
    kept: float


def fair_share(processors: int, threads: int, programs: int) -> float:
    """What a thread has of a processor where all that want to run have the same."""
    return min(1.0, processors / (threads + programs))


def kept_of(alone: Sequence[float], beside: Sequence[float], share: float) -> float:
    """Of the share, by the seconds of the same work alone and beside others."""
    return median(alone) / median(beside) / share


@contextmanager
def busy(programs: int) -> Iterator[None]:
    """Programs that compute meanwhile."""
    with ExitStack() as stack:
        for _ in range(programs):
            process = subprocess.Popen([sys.executable, "-c", BUSY])
            stack.callback(process.wait)
            stack.callback(process.kill)
        yield


def measured(engine: Engine, processors: int, threads: int, repeat: int) -> Iterator[Kept]:
    """Every test beside every number of programs, and alone before and after."""
    for test, (prompt, generate) in TESTS.items():
        ids = token_ids(prompt, VOCABULARY)

        def seconds(test: str = test, ids: list[int] = ids, generate: int = generate) -> list[float]:
            return [engine.seconds(test, ids, generate) for _ in range(repeat)]

        seconds()
        for programs in PROGRAMS:
            before = seconds()
            with busy(programs):
                beside = seconds()
            share = fair_share(processors, threads, programs)
            yield Kept(test, programs, share, kept_of([*before, *seconds()], beside, share))


def main() -> int:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", default="smollm2-Q4_1")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--peer-python", type=Path, help="an interpreter that has llama-cpp-python")
    options = parser.parse_args()
    warn_of_company()
    system = System.detect(threads=options.threads)
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    path = str(files.path_of(options.model))
    engines = {"RuvLLM": (sys.executable, "measure_ruvllm.py")}
    if options.peer_python:
        engines["llama.cpp"] = (options.peer_python, "measure_llama_cpp.py")
    reached = True
    for name, (python, program) in engines.items():
        with Engine(python, program, path, str(system.threads)) as engine:
            print(f"{name} with {system.threads} threads on {processors} processors, {Path(path).name}")
            for one in measured(engine, processors, system.threads, options.repeat):
                is_enough = one.kept >= MARK
                reached = reached and (is_enough or name != "RuvLLM")
                verdict = "" if name != "RuvLLM" else "   reached" if is_enough else "   MISSED"
                beside = f"beside {one.programs} busy programs"
                print(f"{one.test:8} {beside}: share {one.share:.2f}, kept {one.kept:.2f} of it{verdict}")
    print(f"the mark is {MARK}")
    return 0 if reached else 1


if __name__ == "__main__":
    raise SystemExit(main())
