"""Sixteen requests at the same time: against one alone, and against llama.cpp, which serves them in turn.

    python -m benches.streams [MODEL] [--threads N] [--peer-python PYTHON]

All figures are total tokens made over the time from the first submission to the last token. The peer is
llama-cpp-python, compiled as for `make bench-peers`; `--no-peer` leaves it out.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

from benches import files
from benches.peers.engine import Engine
from benches.peers.environment import make_environment
from benches.workloads import exactly, token_ids
from ruvllm import LLM

STREAMS = 16
PROMPT = 128
ANSWER = 64
PARAMS = exactly(ANSWER)


def prompts(vocab_size: int) -> list[list[int]]:
    """Sixteen prompts that have nothing in common."""
    ids = token_ids(STREAMS * PROMPT, vocab_size)
    return [ids[number * PROMPT : (number + 1) * PROMPT] for number in range(STREAMS)]


def seconds_of(llm: LLM, batch: list[list[int]]) -> float:
    """The time of requests that are submitted together."""
    begin = time.perf_counter()
    answers = llm.generate(batch, replace(PARAMS))
    assert all(answer.usage.completion_tokens == ANSWER for answer in answers)
    return time.perf_counter() - begin


def seconds_of_peer(peer: Engine, batch: list[list[int]]) -> float:
    """The same requests one after the other: prompt, then answer."""
    seconds = 0.0
    for prompt in batch:
        seconds += peer.seconds("prefill", prompt, 0)
        seconds += peer.seconds("decode", prompt, ANSWER - 1)
    return seconds


def show(name: str, rate: float, ratios: list[float], mark: float) -> None:
    """One line."""
    ratio = median(ratios)
    verdict = "reached" if ratio >= mark else "MISSED"
    print(f"{name:34} {rate:7.0f} t/s   16 together: {ratio:5.2f} times   >= {mark:.0f} times   {verdict}")


def measure(llm: LLM, peer: Engine | None, repeat: int) -> None:
    """All in turn, run by run."""
    batch = prompts(llm.model_info.vocab_size)
    runs = []
    for _ in range(repeat + 1):
        alone = seconds_of(llm, batch[:1])
        together = seconds_of(llm, batch)
        runs.append((alone, together, seconds_of_peer(peer, batch) if peer else 0.0))
    runs = runs[1:]
    rates = [STREAMS * ANSWER / together for _, together, _ in runs]
    print(f"{STREAMS} streams of {PROMPT} + {ANSWER} tokens: {median(rates):.0f} t/s, medians of {repeat}")
    gains = [STREAMS * alone / together for alone, together, _ in runs]
    show("one stream", median(ANSWER / alone for alone, _, _ in runs), gains, 3)
    if peer:
        leads = [other / together for _, together, other in runs]
        show(str(peer.ready["engine"]), median(STREAMS * ANSWER / other for _, _, other in runs), leads, 2)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", default="smollm2-Q4_0", help="as in benches.peers.compare")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--peer-python", type=Path, help="an interpreter that has llama_cpp")
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    options = parse_arguments()
    if options.no_peer:
        python = None
    else:
        python = options.peer_python or make_environment("native", upgrade=False)
        files.make(python)
    path = files.path_of(options.model)
    with LLM(path, threads=options.threads) as llm:
        info = llm.model_info
        print(f"{path.name}, {info.isa}, {info.threads} threads")
        if python is None:
            measure(llm, None, options.repeat)
            return
        with Engine(python, "measure_llama_cpp.py", str(path), str(info.threads)) as peer:
            measure(llm, peer, options.repeat)


if __name__ == "__main__":
    main()
