"""What each format of the key-value cache costs and gains: bytes, perplexity, recall, speed.

    python -m benches.kv_formats [MODEL ...] [--chunks N] [--threads N] [--repeat N] [--tail N]

The text is Python's own help (`pydoc_data.topics`). Perplexity is that of chunks of 2048 tokens, divergence
that of chunks of 512 (their logits are held), both beside the same engine with its cache in f32, with
activations in f32, so that nothing but the cache is rounded. A needle is a number that stands somewhere in
3500 tokens of the text; it is recalled where the model goes on with its digits when asked for it. A token's
time is taken behind 4000 tokens, the formats in turn. What is printed is a table for Markdown.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from pydoc_data.topics import topics  # type: ignore[import-untyped]
from statistics import median
from typing import cast

from benches import files
from ruvllm import LLM, EvaluationParams, GenerateParams, evaluate
from ruvllm.engine_settings import Activations, KvFormat
from ruvllm.kernels import PagedKvCache
from ruvllm.runtime.kv_shape import KvShape

FORMATS: tuple[KvFormat, ...] = ("int16", "int8", "k8v4", "q4", "q3")
EXACT: KvFormat = "f32"
# Those that may have a tail in int8, the usual one.
TAILED: tuple[KvFormat, ...] = ("k8v4", "q4", "q3")
TOKENS = 4096
DEPTH = 4000
HAYSTACK = 3500
CODES = {
    "Lisbon": 48213, "Oslo": 90467, "Nairobi": 13579, "Quito": 62840, "Hanoi": 27195, "Perth": 84306,
    "Riga": 51928, "Dakar": 36074, "Lima": 70651, "Turin": 19842, "Cairo": 65037, "Kyoto": 42786,
}  # fmt: skip
TEXT = "\n".join(topics[name] for name in sorted(topics))
GREEDY = GenerateParams(max_tokens=8, temperature=0.0, repetition_penalty=1.0, ignore_eos=True)


@dataclass(frozen=True)
class Cost:
    """What one format was found to be."""

    block_bytes: int
    shape: KvShape
    perplexity: float
    divergence: float
    recalled: int

    def bytes_at(self, num_tokens: int) -> int:
        """What a context of so many tokens takes, tails and what fills blocks up included."""
        return self.shape.blocks_at(num_tokens, num_tokens) * self.block_bytes


def opened(
    path: Path,
    kv_format: KvFormat,
    args: argparse.Namespace,
    activations: Activations = "auto",
) -> LLM:
    """An engine with room for what is asked here."""
    return LLM(
        path,
        kv_format=kv_format,
        kv_tail=args.tail if kv_format in TAILED else None,
        threads=args.threads,
        activations=activations,
        max_context=TOKENS + 64,
    )


def recalled(llm: LLM) -> int:
    """How many of the needles the model finds."""
    words = llm.tokenize(TEXT)[:HAYSTACK]
    step = len(words) // (len(CODES) + 1)
    haystack: list[int] = []
    for index, (city, code) in enumerate(CODES.items()):
        needle = llm.tokenize(f"\n\nRemember: the code of {city} is {code}.\n\n", add_bos=False)
        haystack += [*words[index * step : (index + 1) * step], *needle]
    found = 0
    for city, code in CODES.items():
        question = llm.tokenize(f"\n\nRemember: the code of {city} is", add_bos=False)
        answer = llm.generate([*haystack, *question], GREEDY)
        found += str(code) in answer.text
    return found


def cost(path: Path, kv_format: KvFormat, args: argparse.Namespace) -> Cost:
    """Everything about one format but its speed; nothing but the cache is rounded."""
    with opened(path, kv_format, args, "f32") as llm:
        long = EvaluationParams(context=2048, max_chunks=args.chunks)
        scores = evaluate(llm, TEXT, params=long).text
        short = EvaluationParams(context=512, max_chunks=args.chunks)
        with opened(path, EXACT, args, "f32") as exact:
            divergence = evaluate(llm, TEXT, reference=exact, params=short).divergence
        assert scores is not None
        assert divergence is not None
        stats = llm.pool_stats()
        return Cost(
            block_bytes=stats.block_bytes,
            shape=KvShape(PagedKvCache.block_tokens, stats.windows),
            perplexity=scores.perplexity.value,
            divergence=divergence.mean.value,
            recalled=recalled(llm),
        )


def token_seconds(path: Path, args: argparse.Namespace) -> dict[KvFormat, float]:
    """The time of a token behind a long prompt: the median of rounds in which the formats take turns."""
    found: dict[KvFormat, list[float]] = {kv_format: [] for kv_format in FORMATS}
    params = GenerateParams(max_tokens=33, temperature=0.0, ignore_eos=True, speculate=False)
    for _ in range(args.repeat):
        for kv_format, times in found.items():
            with opened(path, kv_format, args) as llm:
                stream = llm.stream(llm.tokenize(TEXT)[:DEPTH], params)
                next(stream)
                begin = time.perf_counter()
                rest = sum(len(chunk.token_ids) for chunk in stream)
                times.append((time.perf_counter() - begin) / rest)
    return {kv_format: median(times) for kv_format, times in found.items()}


def table(name: str, path: Path, args: argparse.Namespace) -> Iterator[str]:
    """The lines of one model."""
    exact = cost(path, EXACT, args)
    seconds = token_seconds(path, args)
    # What a format's bits come to is told from the bytes of f32, which has nothing beside its numbers.
    as_halves = exact.bytes_at(TOKENS) / 2
    for kv_format in FORMATS:
        found = cost(path, kv_format, args)
        cells = (
            name,
            f"`{kv_format}`",
            f"{16 * found.bytes_at(TOKENS) / as_halves:.2f}",
            f"{found.bytes_at(TOKENS) / 1e6:.1f} MB",
            f"{as_halves / found.bytes_at(TOKENS):.2f}",
            f"{found.perplexity / exact.perplexity - 1:+.2%}",
            f"{found.divergence:.4f}",
            f"{found.recalled} of {len(CODES)} ({exact.recalled})",
            f"{seconds['int16'] / seconds[kv_format]:.2f}",
        )
        yield f"| {' | '.join(cells)} |"


HEAD = (
    "model",
    "format",
    "bits a number",
    "4096 tokens",
    "f16 over it",
    "perplexity",
    "divergence",
    "needles (in f32)",
    "speed at 4000 over int16's",
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="what each format of the key-value cache costs and gains")
    parser.add_argument("models", nargs="*", default=["smollm2-Q4_1", "gemma-3-270m-Q4_K_M"])
    parser.add_argument("--threads", type=int)
    parser.add_argument("--chunks", type=int, default=12, help="of the text, of 2048 and of 512 tokens")
    parser.add_argument("--repeat", type=int, default=3, help="rounds of the speed")
    parser.add_argument("--tail", type=int, help="tokens of the tails; else as goes with the format")
    args = parser.parse_args(arguments)
    print(f"| {' | '.join(HEAD)} |")
    print(f"|{'---|' * 2}{'---:|' * (len(HEAD) - 2)}")
    for name in cast("list[str]", args.models):
        for line in table(name, files.path_of(name), args):
            print(line, flush=True)


if __name__ == "__main__":
    main()
