"""Many questions about one input: against its tokens read plainly, and against llama-cpp-python.

    python -m benches.decisions [MODEL] [--questions N] [--peer-questions N] [--ways WAY,...] [--no-peer]

The first figure is the time of a decision over that of its tokens: the input, and behind it, where it is in
the cache, the ends of all questions as a few long texts.

The others are llama-cpp-python's, with the same file, prompts and threads, asked as its users ask it: for one
token of each prompt, in turn. It finds the input in its context each time. There are three ways to ask:
`whole`, a completion with `logprobs`; `stream`, the same as a stream, which computes less with what it has;
and `text`, which gives the likeliest answer, and no probability. The fewer questions there are, the more of
both is the input.
"""

import argparse
import math
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benches import files
from benches.peers.environment import answer_of, make_environment, warn_of_company
from benches.workloads import token_ids
from ruvllm import LLM, GenerateParams
from ruvllm.decisions import Predicate
from ruvllm.decisions.wording import asked_messages

SENTENCE = "The parcel number {} left on a rainy morning, and the driver wrote it down. "
SENTENCES = 53
WARM_UP = "A word to begin with."
WAYS = ("whole", "stream", "text")
AT_ONCE = 256
BLOCK = 32
MARK_OF_TOKENS = 1.3
MARK_OF_PEER = 10.0
PLAIN = GenerateParams(max_tokens=1, temperature=0.0)


@dataclass(frozen=True)
class Work:
    """An input and what is asked about it."""

    text: str
    questions: list[Predicate]

    @classmethod
    def of(cls, num_questions: int) -> "Work":
        """About a thousand tokens, and so many questions."""
        text = "".join(SENTENCE.format(number) for number in range(SENTENCES))
        numbers = range(num_questions)
        return cls(text, [Predicate(f"It says something about the number {number}.") for number in numbers])

    def prompts(self, llm: LLM) -> list[str]:
        """The texts that the model sees."""
        asked = [asked_messages(self.text, question, (0, 1)) for question in self.questions]
        return [llm.apply_chat_template(messages) for messages in asked]


def seconds_of(llm: LLM, work: Work) -> tuple[float, list[float]]:
    """The time of a decision from nothing, and the probabilities."""
    llm.prefix_cache.clear()
    began = time.perf_counter()
    decision = llm.decide(work.text, work.questions)
    seconds = time.perf_counter() - began
    assert decision.usage.cached_tokens == 0
    return seconds, [answer.probability for answer in decision.answers]  # type: ignore[union-attr]


def seconds_of_tokens(llm: LLM, beginning: list[int], num_tokens: int) -> float:
    """The time of the input, and of so many tokens behind it, a few hundred at a time."""
    llm.prefix_cache.clear()
    ids = token_ids(num_tokens, llm.model_info.vocab_size)
    began = time.perf_counter()
    llm.generate(beginning, PLAIN)
    for begin in range(0, num_tokens, AT_ONCE):
        answer = llm.generate([*beginning, *ids[begin : begin + AT_ONCE]], PLAIN)
        # Whole blocks are kept.
        assert answer.usage.cached_tokens > len(beginning) - BLOCK
    return time.perf_counter() - began


def of_peer(python: Path, llm: LLM, model: Path, work: Work, way: str) -> dict[str, Any]:
    """What llama-cpp-python takes, in a process of its own."""
    info = llm.model_info
    content = {
        "model": str(model),
        "threads": info.threads,
        "context": 2048,
        "way": way,
        "warm_up": WARM_UP,
        "prompts": work.prompts(llm),
    }
    answer: dict[str, Any] = answer_of(python, "decisions_llama_cpp.py", content)
    return answer


def show(name: str, seconds: float, ratio: float, mark: str, *, reached: bool) -> None:
    """One line."""
    verdict = "reached" if reached else "MISSED"
    print(f"{name:44} {seconds:8.2f} s   {ratio:6.2f} times   {mark}   {verdict}")


def apart(ours: list[float], likely: list[dict[str, float]]) -> float:
    """How far the peer's order of yes and no is from ours, as a difference of logarithms of odds, median."""
    differences = [
        abs(math.log(share / (1 - share)) - (found["Yes"] - found["No"]))
        for share, found in zip(ours, likely, strict=True)
        if "Yes" in found and "No" in found
    ]
    return median(differences) if differences else math.nan


def measure(llm: LLM, num_questions: int, repeat: int) -> None:
    """A decision and its tokens, in turn."""
    work = Work.of(num_questions)
    plan = llm.decision_plan(work.text, work.questions)
    length = len(plan.beginning)
    print(f"{num_questions} questions about {length} tokens; {plan.num_tokens} tokens in all")
    seconds_of(llm, Work.of(2))
    runs = []
    for _ in range(repeat):
        seconds, _ = seconds_of(llm, work)
        runs.append((seconds, seconds_of_tokens(llm, plan.beginning, plan.num_tokens - length)))
    ratio = median(seconds / plain for seconds, plain in runs)
    within = ratio <= MARK_OF_TOKENS
    taken = median(seconds for seconds, _ in runs)
    show("decide", taken, ratio, f"<= {MARK_OF_TOKENS} times its tokens", reached=within)


def measure_beside(llm: LLM, model: Path, options: argparse.Namespace) -> None:
    """A decision beside the peer's ways to the same answers."""
    python = options.peer_python or make_environment("native", upgrade=False)
    work = Work.of(options.peer_questions)
    print(f"{len(work.questions)} questions about the same")
    for way in options.ways.split(","):
        runs = [seconds_of(llm, work) for _ in range(options.repeat)]
        ours = median(seconds for seconds, _ in runs)
        peer = of_peer(python, llm, model, work, way)
        lead = peer["seconds"] / ours
        name = f"llama-cpp-python {peer['version']}, {way}"
        show(name, peer["seconds"], lead, f">= {MARK_OF_PEER:.0f} times ours", reached=lead >= MARK_OF_PEER)
        if way != "text":
            far = apart(runs[0][1], peer["likely"])
            print(f"    log odds of yes: {far:.3f} apart, median")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", default="smollm2-Q4_1", help="as in benches.peers.compare")
    parser.add_argument("--questions", type=int, default=400)
    parser.add_argument("--peer-questions", type=int, default=40, help="the peer takes its time")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--peer-python", type=Path, help="an interpreter that has llama_cpp")
    options = parser.parse_args()
    warn_of_company()
    model = files.path_of(options.model)
    with LLM(model, threads=options.threads) as llm:
        print(f"{model.name}, {llm.model_info.isa}, {llm.model_info.threads} threads")
        measure(llm, options.questions, options.repeat)
        if not options.no_peer:
            measure_beside(llm, model, options)


if __name__ == "__main__":
    main()
