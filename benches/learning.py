"""What learning costs: an update, and a token with capture on, or with what was learned in use.

    python -m benches.learning [MODEL] [--threads N] [--rounds N]
    python -m benches.learning --shape 1b

With `--shape` it is a file of that shape (hidden 2048) with random weights. Each round decodes without
learning, with capture and with both, each of them first in turn; ratios are of one round each, and the median
is told, with the quartiles beside it. An update is of an answer of 64 tokens, given its captured states; the
95th percentile counts of those that moved something, which most must. Answers are drawn at temperature 1:
greedy ones of a small model repeat themselves, and have few rows of the head to look at. Each comes again
when nineteen others have been learned from, and the next time with the other thumb.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median, quantiles

from benches import files
from benches.shapes import SHAPES, write_shape
from benches.workloads import exactly, token_ids
from ruvllm import LLM, SonaConfig, SonaLlm, SonaLlmConfig

ANSWER, PROMPT = 64, 32
ROUNDS, UPDATES, ANSWERS = 31, 400, 20
# What is decoded, beside what, and the mark.
BESIDE = {"capture": "none", "learned": "capture"}
MARKS = {"capture": 1.03, "learned": 1.02}
UPDATE_MARK_US = 1000
MOVED_MARK = 0.8
MADE = exactly(ANSWER)
# Nothing holds, and nothing is expected: each of many updates moves something.
BUSY = SonaConfig(ewc_lambda=0.02, baseline_rate=0.0, max_feedback_per_minute=100_000)


def decode_seconds(llm: LLM, prompt: list[int], tenant: str) -> float:
    """Seconds from the first token to the last."""
    timings = llm.generate(prompt, MADE, tenant=tenant).timings
    return timings.total_seconds - timings.first_token_seconds


def updates(llm: LLM) -> list[tuple[float, bool]]:
    """Microseconds of each update of answers that were captured here, and whether it moved anything."""
    sona = SonaLlm(llm, SonaLlmConfig(sona=BUSY), tenant="updates")
    vocabulary = llm.model_info.vocab_size
    streams = [
        sona.stream(token_ids(PROMPT + index, vocabulary), replace(MADE, temperature=1.0, seed=index))
        for index in range(ANSWERS)
    ]
    answers = [stream.completion() for stream in streams]
    found = []
    for index in range(UPDATES):
        answer, turn = answers[index % ANSWERS], index // ANSWERS
        began = time.perf_counter()
        result = sona.feedback(answer.completion_id, (index + turn) % 2)
        found.append(((time.perf_counter() - began) * 1e6, result.applied))
    return found


def ratios(llm: LLM, rounds: int) -> dict[str, list[float]]:
    """What a decoded token takes with capture, and beside that with what was learned, over one without."""
    prompt = token_ids(PROMPT, llm.model_info.vocab_size)
    SonaLlm(llm, tenant="capture")
    learned = SonaLlm(llm, tenant="learned")
    learned.feedback(learned.generate(prompt, MADE).completion_id, 1.0)
    tenants = ["none", "capture", "learned"]
    found: dict[str, list[float]] = {name: [] for name in MARKS}
    for turn in range(rounds):
        first = turn % len(tenants)
        seconds = {
            tenant: decode_seconds(llm, prompt, tenant) for tenant in tenants[first:] + tenants[:first]
        }
        for name, other in BESIDE.items():
            found[name].append(seconds[name] / seconds[other])
    return found


def report(llm: LLM, rounds: int) -> bool:
    """Tell the figures; whether they keep their marks."""
    made = updates(llm)
    moved = [microseconds for microseconds, applied in made if applied]
    percentile = quantiles(moved, n=20)[-1]
    info = llm.model_info
    print(f"hidden {info.hidden_size}, {info.quantization}, {info.threads} threads")
    print(
        f"update of {ANSWER} tokens: {len(moved)} of {len(made)} moved something; of those median "
        f"{median(moved):.0f} us, 95th percentile {percentile:.0f} us (mark {UPDATE_MARK_US})"
    )
    is_kept = percentile < UPDATE_MARK_US and len(moved) >= MOVED_MARK * len(made)
    for name, values in ratios(llm, rounds).items():
        low, ratio, high = quantiles(values, n=4)
        print(f"decoding, {name}: {ratio:.3f} ({low:.3f} to {high:.3f}; mark {MARKS[name]})")
        is_kept = is_kept and ratio <= MARKS[name]
    return is_kept


def main() -> int:
    """Run it; 1 where a mark is not kept."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", default="smollm2-135m")
    parser.add_argument("--shape", choices=sorted(SHAPES))
    parser.add_argument("--threads", type=int)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = files.path_of(arguments.model) if arguments.shape is None else Path(folder) / "shape.gguf"
        if arguments.shape is not None:
            write_shape(SHAPES[arguments.shape], Path(path))
        with LLM(path, threads=arguments.threads, max_context=1024) as llm:
            return 0 if report(llm, arguments.rounds) else 1


if __name__ == "__main__":
    raise SystemExit(main())
