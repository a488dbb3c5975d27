"""What guesses of next tokens gain, and that they cost nothing where they gain nothing.

    python -m benches.speculation [MODEL] [--draft SMALLER] [--threads N] [--repeat N]

The same answers are made with and without guesses, in turn, in one process, and their tokens compared. Texts
are files of this repository. Beside each gain stand the tokens of a step and the share of guesses that came
true, and at the end what steps of several rows were seen to cost. Marks of gains are for machines with VNNI.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple, TypeAlias

from benches import files
from ruvllm import LLM, Completion, GenerateParams
from ruvllm.runtime.streams import join_chunks

Work: TypeAlias = Callable[[], tuple[float, list[Completion]]]
ROOT = Path(__file__).resolve().parents[1]
STREAMS = 16
GREEDY = GenerateParams(max_tokens=256, temperature=0.0, repetition_penalty=1.0, cache_prefix=False)
DRAWN = replace(GREEDY, temperature=0.7, top_p=0.9, seed=7, max_tokens=160)
LOSES_NOTHING = 0.97


def part(path: str, first: str, characters: int) -> str:
    """So much of a file, from a word on."""
    text = (ROOT / path).read_text(encoding="utf-8")
    start = text.index(first)
    return text[start : start + characters]


CODE = part("python/ruvllm/runtime/step_times.py", "class StepTimes", 1400)
PAGE = part("LICENSE-APACHE", "2. Grant of Copyright License", 1400)
FACTS = part("LICENSE-APACHE", "7. Disclaimer of Warranty", 1500)
ASKED = {
    "edit a file": f"Write this file again with the class StepTimes renamed to Durations:\n\n{CODE}",
    "copy a text": f"Repeat this text word for word:\n\n{PAGE}",
    "summary that quotes": f"Summarize this text by quoting its most important sentences:\n\n{PAGE}",
    "answer from a text": f"{FACTS}\n\nWhat does this text say of liability? Quote it.",
    "chat": "What should I see in Paris in three days?",
    "story": "Write a short story about a lighthouse keeper and a whale.",
}
MARKS = {
    "edit a file": 2.2,
    "copy a text": 3.0,
    "summary that quotes": 2.5,
    "answer from a text": 2.5,
}
# Answers to these are alike in form.
FORM = (
    "Answer with these four lines and nothing else.\nName: {0}\nCountry:\nContinent:\nWhat it is known for:"
)
TOWNS = ["Lisbon", "Oslo", "Nairobi", "Quito", "Hanoi", "Cairo", "Lima", "Kyoto"]
QUESTIONS = [
    "Why is the sky blue?", "How do I bake bread?", "What is a prime number?", "Who was Marie Curie?",
    "How do bees make honey?", "What does a compiler do?", "Why do cats purr?", "What is inflation?",
    "How does a sail work?", "What is jazz?", "Why are there seasons?", "How do vaccines work?",
    "What is a black hole?", "How do I learn to swim?", "What is tea made of?", "Why do we dream?",
]  # fmt: skip


class Pair(NamedTuple):
    """The same work with and without guesses: how much faster, tokens, guesses, those that came true."""

    gain: float
    tokens: int
    drafted: int
    accepted: int


def answered(llm: LLM, prompts: Sequence[str], params: GenerateParams) -> tuple[float, list[Completion]]:
    """Answers to all of them together; seconds from the first token of one alone, or of all."""
    tokens = [llm.chat_tokens(prompt) for prompt in prompts]
    begin = time.perf_counter()
    streams = [llm.stream(one, params) for one in tokens]
    ends = [join_chunks(list(stream)) for stream in streams]
    seconds = time.perf_counter() - begin
    if len(ends) == 1:
        seconds = ends[0].timings.total_seconds - ends[0].timings.first_token_seconds
    return seconds, ends


def pair(guessing: Work, plain: Work, *, guessing_first: bool) -> Pair:
    """Both, one after the other."""
    if guessing_first:
        (seconds, ends), (plain_seconds, plain_ends) = guessing(), plain()
    else:
        (plain_seconds, plain_ends), (seconds, ends) = plain(), guessing()
    assert [one.token_ids for one in ends] == [one.token_ids for one in plain_ends], "the tokens differ"
    usages = [one.usage for one in ends]
    return Pair(
        plain_seconds / seconds,
        sum(usage.completion_tokens for usage in usages),
        sum(usage.drafted_tokens for usage in usages),
        sum(usage.accepted_tokens for usage in usages),
    )


def show(name: str, pairs: Sequence[Pair], mark: float, *, within: float | None = None) -> None:
    """One line: the median of the pairs, and what their guesses came to."""
    gain = median(one.gain for one in pairs)
    tokens = sum(one.tokens for one in pairs)
    drafted, accepted = sum(one.drafted for one in pairs), sum(one.accepted for one in pairs)
    steps = tokens - accepted
    share = f"{accepted / drafted:4.0%}" if drafted else "   -"
    rows = 1 + drafted / steps
    figures = f"{gain:5.2f}x {tokens / steps:5.2f} tokens, {rows:5.2f} rows a step, {share} came true"
    reached = gain >= mark if within is None else abs(gain - 1) <= within
    asked = f">= {mark}x" if within is None else f"within {within:.0%}"
    print(f"{name:24} {figures}   {asked:10} {'reached' if reached else 'MISSED'}", flush=True)


def one_by_one(llm: LLM, prompts: Sequence[str], params: GenerateParams) -> tuple[float, list[Completion]]:
    """Answers one after the other; seconds from the first token of each."""
    each = [answered(llm, [prompt], params) for prompt in prompts]
    return sum(seconds for seconds, _ in each), [end for _, ends in each for end in ends]


def after_others(llm: LLM, first: str, prompts: Sequence[str], repeat: int) -> list[Pair]:
    """Answers that come after another one, which only here leave a trace; each turn begins with none."""
    kept = replace(GREEDY, max_tokens=128, cache_prefix=True)
    plain = replace(kept, speculate=False)
    pairs = []
    for turn in range(repeat):
        llm.prefix_cache.clear()
        answered(llm, [first], kept)
        works = [partial(one_by_one, llm, prompts, params) for params in (kept, plain)]
        pairs.append(pair(*works, guessing_first=bool(turn % 2)))
    return pairs


def measure(llm: LLM, off: LLM, repeat: int) -> None:
    """Every kind of answer, then sixteen at once, then what it costs to be able to."""

    def pairs_of(prompts: Sequence[str], params: GenerateParams) -> list[Pair]:
        plain = replace(params, speculate=False)
        return [
            pair(
                lambda: answered(llm, prompts, params),
                lambda: answered(llm, prompts, plain),
                guessing_first=bool(turn % 2),
            )
            for turn in range(repeat)
        ]

    for name, prompt in ASKED.items():
        answered(llm, [prompt], replace(GREEDY, max_tokens=16, speculate=False))
        show(name, pairs_of([prompt], GREEDY), MARKS.get(name, LOSES_NOTHING))
    for name in ("edit a file", "chat", "story"):
        # Half a second each: it takes more of them to tell 0.97 from 1.
        pairs = [one for _ in range(3) for one in pairs_of([ASKED[name]], DRAWN)]
        show(f"{name}, temperature 0.7", pairs, LOSES_NOTHING)
    again = after_others(llm, QUESTIONS[0], QUESTIONS[:1], repeat)
    show("the same asked again", again, LOSES_NOTHING)
    forms = after_others(llm, FORM.format("Paris"), [FORM.format(town) for town in TOWNS], repeat)
    show("a form, after another", forms, LOSES_NOTHING)
    short = replace(GREEDY, max_tokens=96)
    show(f"{STREAMS} chats at once", pairs_of(QUESTIONS, short), LOSES_NOTHING)
    show(f"{STREAMS} edits at once", pairs_of([ASKED["edit a file"]] * STREAMS, short), LOSES_NOTHING)
    costs = llm.stats().speculation.step_costs
    print("a step by its rows:", ", ".join(f"{rows}: {times:.2f}" for rows, times in costs.items()))
    plain = replace(GREEDY, speculate=False)
    pairs = [
        pair(
            lambda: answered(off, [ASKED["story"]], GREEDY),
            lambda: answered(llm, [ASKED["story"]], plain),
            guessing_first=bool(turn % 2),
        )
        for turn in range(2 * repeat)
    ]
    show("off, beside not asked for", pairs, 1, within=0.01)


def main() -> None:
    """Measure one model."""
    parser = argparse.ArgumentParser(description="what guesses of next tokens gain")
    parser.add_argument("model", nargs="?", default="smollm2-Q4_1")
    parser.add_argument("--draft", help="a smaller model that guesses too")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--repeat", type=int, default=5)
    args = parser.parse_args()
    path = files.path_of(args.model)
    draft = files.path_of(args.draft) if args.draft else None
    with (
        LLM(path, threads=args.threads, draft=draft) as llm,
        LLM(path, threads=args.threads, speculation="off") as off,
    ):
        info = llm.model_info
        helper = f" with {args.draft}" if args.draft else ""
        print(f"{args.model}{helper}, {info.isa}, {info.threads} threads; medians of {args.repeat} pairs")
        measure(llm, off, args.repeat)


if __name__ == "__main__":
    main()
