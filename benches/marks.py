"""Marks that need no peer: a long context in two formats of the cache, eight requests together, loading.

    python -m benches.marks [MODEL] [--threads N] [--isa ISA]

Prints each figure beside its mark, and saves nothing.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from benches import files
from benches.workloads import exactly, token_ids
from ruvllm import LLM, Completion

SHORT, LONG = 16, 2048
MOST_LOSS = 0.25
ROWS = 8
LEAST_GAIN = 4.0
MOST_LOAD_SECONDS = 0.2


def decode_rate(llm: LLM, context: int, generate: int) -> float:
    """Tokens a second after a context of so many, whose prefill does not count."""
    prompt = token_ids(context, llm.model_info.vocab_size)
    completion = llm.generate(prompt, exactly(generate + 1))
    assert isinstance(completion, Completion)
    assert completion.usage.completion_tokens == generate + 1
    timings = completion.timings
    return generate / (timings.total_seconds - timings.first_token_seconds)


def batch_rate(llm: LLM, rows: int, generate: int) -> float:
    """Tokens a second of so many requests together, once all of them have their first token."""
    ids = token_ids(SHORT * rows, llm.model_info.vocab_size)
    prompts = [ids[row * SHORT : (row + 1) * SHORT] for row in range(rows)]
    completions = llm.generate(prompts, exactly(generate + 1))
    assert isinstance(completions, list)
    assert [one.usage.completion_tokens for one in completions] == [generate + 1] * rows
    timings = [one.timings for one in completions]
    begin = max(one.first_token_seconds for one in timings)
    return rows * generate / (max(one.total_seconds for one in timings) - begin)


def in_turn(
    first: Callable[[], float], second: Callable[[], float], repeat: int
) -> tuple[float, float, float]:
    """The medians of both and of the ratio of second to first, run by run; a first pair warms up."""
    pairs = [(first(), second()) for _ in range(repeat + 1)][1:]
    return (
        median(one for one, _ in pairs),
        median(other for _, other in pairs),
        median(other / one for one, other in pairs),
    )


def show_long_context(llm: LLM, kv_format: str, options: argparse.Namespace) -> None:
    """What a long context costs, in one format of the key-value cache."""
    generate = options.generate
    short, long, kept = in_turn(
        lambda: decode_rate(llm, SHORT, generate), lambda: decode_rate(llm, LONG, generate), options.repeat
    )
    show(
        f"decode at {LONG}, kv_format={kv_format}",
        f"{long:.0f} t/s, {short:.0f} at {SHORT}: {1 - kept:.0%} lost",
        f"<= {MOST_LOSS:.0%}",
        is_reached=1 - kept <= MOST_LOSS,
    )


def load_seconds(path: Path, options: argparse.Namespace) -> float:
    """From the file, which the system has in its cache by then, to a model that can be asked."""

    def load() -> float:
        start = time.perf_counter()
        with LLM(path, threads=options.threads, isa=options.isa):
            return time.perf_counter() - start

    return median([load() for _ in range(options.repeat + 1)][1:])


def show(name: str, figures: str, mark: str, *, is_reached: bool) -> None:
    """One line."""
    print(f"{name:32} {figures:48} {mark:14} {'reached' if is_reached else 'MISSED'}")


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", default="smollm2-Q4_1", help="as in benches.peers.compare")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--isa")
    parser.add_argument("--generate", type=int, default=64)
    parser.add_argument("--repeat", type=int, default=5)
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    options = parse_arguments()
    path, generate, repeat = files.path_of(options.model), options.generate, options.repeat
    with LLM(path, threads=options.threads, isa=options.isa) as llm:
        info = llm.model_info
        print(f"{path.name}, {info.isa}, {info.threads} threads, medians of {repeat}")
        show_long_context(llm, "auto", options)
        alone, together, gain = in_turn(
            lambda: batch_rate(llm, 1, generate), lambda: batch_rate(llm, ROWS, generate), repeat
        )
        show(
            f"{ROWS} rows together",
            f"{together:.0f} t/s, {alone:.0f} alone: {gain:.2f} times",
            f">= {LEAST_GAIN:.0f} times",
            is_reached=gain >= LEAST_GAIN,
        )
    with LLM(path, threads=options.threads, isa=options.isa, kv_format="int8") as llm:
        show_long_context(llm, "int8", options)
    seconds = load_seconds(path, options)
    show(
        "load and pack",
        f"{seconds:.3f} s",
        f"< {MOST_LOAD_SECONDS} s",
        is_reached=seconds < MOST_LOAD_SECONDS,
    )


if __name__ == "__main__":
    main()
