"""What others wait while somebody's long prompt comes in, and what that costs the prompt.

    make bench-long-prompt                                 a file of 1b shape, random weights, all threads
    python -m benches.long_prompt --shape 8b --format Q4_K --repeat 1
    python -m benches.long_prompt --model smollm2-Q4_1     or a path

A stream makes tokens; then a prompt of 4000 comes in, of the same tenant: the times between two tokens of the
stream until the prompt is through, and the prompt's tokens a second beside the same prompt alone, before and
after. Of two tenants each keeps its share instead, which `make bench-fairness` measures. Ends with 1 where a
mark is missed.
"""

import argparse
import random
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import mean, median, quantiles

from benches import files, size_files
from benches.shapes import FORMATS, SHAPES
from benches.workloads import exactly
from ruvllm import LLM

__all__ = ["LongPrompt", "measure", "report"]

PROMPT = 4000
WAIT_SECONDS = 0.3
LOSS = 0.05
# The stream has made so many tokens when the prompt comes.
TOKENS_BEFORE = 8


@dataclass(frozen=True, slots=True)
class LongPrompt:
    """One run.

    Attributes:
        gaps: Seconds between two tokens of the stream while the prompt came in.
        alone: The prompt's tokens a second by itself.
        beside: The same beside the stream.
    """

    gaps: tuple[float, ...]
    alone: float
    beside: float

    @property
    def loss(self) -> float:
        """What the prompt lost of its speed."""
        return 1 - self.beside / self.alone


def measure(llm: LLM, tokens: int, seed: int) -> LongPrompt:
    """A prompt alone, beside a stream, and alone again: a shared machine is not as fast in every minute."""
    order = random.Random(seed)
    before = _rate(llm, _prompt(llm, order, tokens))
    begun, ended = threading.Event(), threading.Event()
    times: list[float] = []

    def stream() -> None:
        room = llm.model_info.max_context - 64
        with llm.stream(_prompt(llm, order, 30), exactly(room)) as chunks:
            for _ in chunks:
                times.append(time.perf_counter())
                if len(times) == TOKENS_BEFORE:
                    begun.set()
                if ended.is_set():
                    break

    thread = threading.Thread(target=stream)
    thread.start()
    try:
        begun.wait()
        first = len(times) - 1
        beside = _rate(llm, _prompt(llm, order, tokens))
        last = len(times)
    finally:
        ended.set()
        thread.join()
    of_prompt = times[first : last + 1]
    gaps = tuple(later - one for one, later in pairwise(of_prompt))
    after = _rate(llm, _prompt(llm, order, tokens))
    return LongPrompt(gaps=gaps, alone=mean((before, after)), beside=beside)


def _prompt(llm: LLM, order: random.Random, tokens: int) -> list[int]:
    vocabulary = llm.model_info.vocab_size
    return [order.randrange(vocabulary // 8, vocabulary) for _ in range(tokens)]


def _rate(llm: LLM, prompt: Sequence[int]) -> float:
    began = time.perf_counter()
    llm.generate(list(prompt), exactly(1))
    return len(prompt) / (time.perf_counter() - began)


def report(runs: Sequence[LongPrompt]) -> bool:
    """Print what runs came to; whether both marks are reached."""
    gaps = sorted(gap for run in runs for gap in run.gaps)
    wait = quantiles(gaps, n=20)[-1] if len(gaps) > 1 else gaps[0]
    loss = median(run.loss for run in runs)
    waits = f"half {median(gaps):.3f} s, p95 {wait:.3f} s, longest {gaps[-1]:.3f} s"
    rates = (
        f"alone {median(run.alone for run in runs):.0f} t/s, beside {median(run.beside for run in runs):.0f}"
    )
    marks = [wait <= WAIT_SECONDS, loss <= LOSS]
    said = ["reached" if mark else "MISSED" for mark in marks]
    print(f"between two tokens of the stream: {waits}   p95 <= {WAIT_SECONDS} s   {said[0]}")
    print(f"the prompt: {rates}, {loss:.1%} less   <= {LOSS:.0%} less   {said[1]}")
    return all(marks)


def _path(options: argparse.Namespace) -> Path:
    if options.model:
        return files.path_of(options.model)
    return size_files.file_of(options.shape, options.format, SHAPES[options.shape])


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model", help="as in benches.peers.compare, or a path; else a file of random weights"
    )
    parser.add_argument("--shape", choices=list(SHAPES), default="1b")
    parser.add_argument("--format", choices=list(FORMATS), default="Q4_0")
    parser.add_argument("--prompt", type=int, default=PROMPT, help="tokens")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    path = _path(options)
    # The stream must not end before the prompt is through: it makes a token a step.
    with LLM(path, threads=options.threads, max_context=2 * options.prompt) as llm:
        info = llm.model_info
        print(f"{path.name}: {info.isa} with {info.threads} threads, a prompt of {options.prompt} tokens")
        return 0 if report([measure(llm, options.prompt, seed) for seed in range(options.repeat)]) else 1


if __name__ == "__main__":
    sys.exit(main())
