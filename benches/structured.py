"""What grammars cost: made ready, compiled, found again, and a token of an answer that is held to one.

    python -m benches.structured [MODEL] [--threads N] [--repeat N]

Answers with and without a grammar are measured in turn, in one process; the schemas are those of
`tests/fixtures/json_schema`. `cargo bench` times masks, along the model's answers to a third of those, and
along answers in which strings have bounds, which take longest. Prints each figure beside its mark.
"""

import argparse
import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from benches import files
from benches.workloads import exactly
from ruvllm import LLM, GenerateParams, Grammar, GrammarError

SCHEMAS = Path(__file__).resolve().parents[1] / "tests" / "fixtures" / "json_schema" / "functions.jsonl"
STREAMS = 16
TOKENS = 96
PLAIN = exactly(TOKENS)
DRAWN = replace(PLAIN, temperature=0.8, top_p=0.95, seed=1)
# Longer than any answer, so that each has the same number of tokens.
PEOPLE: dict[str, Any] = {
    "type": "array",
    "minItems": 200,
    "items": {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 24},
            "age": {"type": "integer", "minimum": 0, "maximum": 120},
            "city": {"enum": ["Paris", "Rome", "Oslo"]},
            "tags": {"type": "array", "items": {"type": "string", "maxLength": 12}, "maxItems": 3},
        },
        "required": ["name", "age", "city", "tags"],
        "additionalProperties": False,
    },
}
PROMPT = "Some people, as JSON:\n"
# As models that were trained for tools write a call.
FORECAST = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "maxLength": 20},
        "unit": {"enum": ["celsius", "fahrenheit"]},
        "days": {"type": "integer", "minimum": 1, "maximum": 9},
    },
    "required": ["city", "unit", "days"],
    "additionalProperties": False,
}
CALL = rf"""
start: "<tool_call>\n{{\"name\": \"get_weather_forecast\", \"arguments\": " arguments "}}\n</tool_call>"
arguments: %json {json.dumps(FORECAST)}
"""
ASKED = "What will the weather be in Paris? "


def show(name: str, figures: str, mark: str = "", *, reached: bool = True) -> None:
    """One line."""
    verdict = "" if not mark else "reached" if reached else "MISSED"
    print(f"{name:40} {figures:52} {mark:12} {verdict}".rstrip())


def seconds_of(work: Callable[[], object]) -> float:
    """How long it takes."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def measure_compiling(llm: LLM, vocabulary: int) -> None:
    """The vocabulary, new grammars, and known ones."""
    limit = 0.3 if vocabulary < 100_000 else 1.5
    first = seconds_of(lambda: llm.check_grammar(Grammar.json_object()))
    show("a model's first grammar", f"{first:.2f} s", f"<= {limit} s", reached=first <= limit)
    grammars = [Grammar.json_schema(json.loads(line)) for line in SCHEMAS.read_text("utf-8").splitlines()]
    new, known = [], []
    for grammar in grammars:
        begin = time.perf_counter()
        try:
            llm.check_grammar(grammar)
        except GrammarError:
            continue
        new.append(1e3 * (time.perf_counter() - begin))
        known.append(1e6 * min(seconds_of(lambda: llm.check_grammar(grammar)) for _ in range(3)))  # noqa: B023
    tail = quantiles(new, n=100)[98]
    figures = f"{median(new):.2f} ms, 99 of 100 within {tail:.1f} ms"
    show(f"a new schema, of {len(new)}", figures, "<= 2 ms", reached=median(new) <= 2)
    show("a known one", f"{median(known):.0f} us", "<= 100 us", reached=median(known) <= 100)


def rate_of(llm: LLM, batch: list[GenerateParams]) -> float:
    """Seconds for a token of each, submitted together."""
    streams = [llm.stream(f"{index}. {PROMPT}", params) for index, params in enumerate(batch)]
    firsts = [next(iter(stream)) for stream in streams]
    begin = time.perf_counter()
    counts = [sum(len(chunk.token_ids) for chunk in stream) for stream in streams]
    seconds = time.perf_counter() - begin
    assert all(count + len(first.token_ids) == TOKENS for count, first in zip(counts, firsts, strict=True)), (
        counts
    )
    return seconds / max(counts)


def measure_answers(llm: LLM, repeat: int, limit: float) -> None:
    """A step with and without, alone and of many."""
    for count in (1, STREAMS):
        most = limit if count == 1 else 0.05
        for name, plain in (("the likeliest token", PLAIN), ("drawn with top-p", DRAWN)):
            held = [
                replace(plain, ignore_eos=False, grammar=Grammar.json_schema({**PEOPLE, "title": str(one)}))
                for one in range(count)
            ]
            pairs = [(rate_of(llm, [plain] * count), rate_of(llm, held)) for _ in range(repeat + 1)][1:]
            free, bound = (median(one) for one in zip(*pairs, strict=True))
            costs = median(second / first for first, second in pairs) - 1
            figures = f"{1e3 * free:.2f} ms a step, {1e6 * (bound - free):+.0f} us: {100 * costs:+.1f}%"
            title = f"{count} with a grammar each, {name}"
            show(title, figures, f"<= {100 * most:.0f}%", reached=costs <= most)


def choosing_us(llm: LLM, params: GenerateParams) -> float:
    """Microseconds of the choice of a token, all that a grammar does with it included."""
    llm.start_profile()
    completion = llm.generate(PROMPT, params)
    profile = llm.take_profile()
    seconds = sum(time.seconds for time in profile.times if time.operation == "sampling")
    return 1e6 * seconds / len(completion.token_ids)


def measure_choosing(llm: LLM) -> None:
    """What a grammar adds to a choice, where no token is forced: for log-probabilities each is chosen."""
    drawn = replace(DRAWN, logprobs=0)
    held = replace(drawn, ignore_eos=False, grammar=Grammar.json_schema(PEOPLE))
    pairs = [(choosing_us(llm, drawn), choosing_us(llm, held)) for _ in range(6)][1:]
    added = median(second - first for first, second in pairs)
    show("the choice of a token with top-p", f"{median(first for first, _ in pairs):.0f} us, {added:+.0f} us")


def measure_masks(llm: LLM, limit: float) -> None:
    """How long it takes to tell which tokens may come next."""
    functions = [json.loads(line) for line in SCHEMAS.read_text("utf-8").splitlines()[::3]]
    for title, schemas in (("of functions", functions), ("strings with bounds", [PEOPLE] * 8)):
        with tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8") as file:
            for seed, schema in enumerate(schemas):
                params = replace(DRAWN, seed=seed, ignore_eos=False, grammar=Grammar.json_schema(schema))
                try:
                    tokens = llm.generate(PROMPT, params).token_ids
                except GrammarError:
                    continue
                file.write(json.dumps({"schema": schema, "tokens": tokens}) + "\n")
            file.flush()
            command = ["cargo", "bench", "-q", "-p", "ruvllm-core", "--bench", "masks", "--"]
            command += [str(llm.model_info.path), file.name]
            printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        figures = json.loads(printed.splitlines()[-1])
        average = figures["average_us"]
        shown = f"{average:.0f} us on average of {figures['masks']}, 99 of 100 within {figures['p99_us']:.0f}"
        show(f"a mask, {title}", shown, f"<= {limit:.0f} us", reached=average <= limit)


def measure_calls(llm: LLM, repeat: int) -> None:
    """Calls of a function: what must come next as runs of rows, and token by token for log-probabilities."""
    for name, plain in (("the likeliest token", PLAIN), ("drawn with top-p", DRAWN)):
        run = replace(plain, ignore_eos=False, grammar=Grammar.lark(CALL))
        free = replace(plain, max_tokens=TOKENS // 2)
        ratios, measuring = [], []
        for _ in range(3 * repeat):
            seconds = [
                seconds_of(lambda: llm.generate(ASKED, params))  # noqa: B023
                for params in (run, replace(run, logprobs=0), free, replace(free, logprobs=0))
            ]
            measuring.append(seconds[3] / seconds[2])
            ratios.append(seconds[1] / seconds[0])
        ratio = median(ratios) / median(measuring)
        figures = f"{ratio:.2f} times as fast as token by token"
        show(f"a call of a function, {name}", figures, ">= 1.1", reached=ratio >= 1.1)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", default="smollm2-Q4_1", help="as in benches.peers.compare")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    path = files.path_of(options.model)
    with LLM(path, threads=options.threads) as llm:
        info = llm.model_info
        print(f"{path.name}, {info.isa}, {info.threads} threads")
        measure_compiling(llm, info.vocab_size)
        measure_answers(llm, options.repeat, 0.03 if info.vocab_size < 100_000 else 0.05)
        measure_choosing(llm)
        measure_masks(llm, 60 if info.vocab_size < 100_000 else 160)
        measure_calls(llm, options.repeat)


if __name__ == "__main__":
    main()
