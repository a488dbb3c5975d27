"""What the prefix cache is worth: the documented workloads, cold against warm, with a real model.

    python -m benches.prefix [MODEL] [--threads N] [--repeat N]

Cold is the same request with `cache_prefix=False`; both are measured in turn, in one process. Prints each
figure beside its mark, and saves nothing.
"""

import argparse
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median

from benches import files
from ruvllm import LLM, Completion, GenerateParams

WORDS = (
    "river",
    "lantern",
    "gravel",
    "orchard",
    "window",
    "copper",
    "violin",
    "market",
    "harbour",
    "thunder",
)
# Soon full.
SMALL_BYTES = 128 * 1024**2
GREEDY = GenerateParams(
    max_tokens=16, temperature=0.0, repetition_penalty=1.0, ignore_eos=True, speculate=False
)


@dataclass(frozen=True)
class Mark:
    """A figure and what it should be."""

    name: str
    figures: str
    mark: str
    is_reached: bool

    def show(self) -> None:
        """One line."""
        print(f"{self.name:34} {self.figures:58} {self.mark:12} {'reached' if self.is_reached else 'MISSED'}")


class Texts:
    """Token ids of made-up prose, never the same twice unless it is asked for."""

    def __init__(self, llm: LLM) -> None:
        self._llm = llm
        self._random = random.Random(7)

    def tokens(self, count: int) -> list[int]:
        """So many tokens that begin like no others."""
        words = [str(self._random.randrange(10**9))]
        words += [self._random.choice(WORDS) for _ in range(count)]
        return self._llm.tokenize(" ".join(words))[:count]


def ask(llm: LLM, prompt: Sequence[int], *, max_tokens: int = 1, cache: bool = True) -> Completion:
    """One answer, whatever comes."""
    return llm.generate(prompt, replace(GREEDY, max_tokens=max_tokens, cache_prefix=cache))


def first_token_ratio(
    llm: LLM, prefix: Sequence[int], follow: Callable[[], list[int]], repeat: int
) -> tuple[float, float, float]:
    """Seconds to the first token without and with the cache, and the median of their ratio."""
    ask(llm, [*prefix, *follow()])
    pairs = []
    for _ in range(repeat + 1):
        cold = ask(llm, [*prefix, *follow()], cache=False).timings.first_token_seconds
        answer = ask(llm, [*prefix, *follow()])
        assert answer.usage.cached_tokens >= len(prefix)
        pairs.append((cold, answer.timings.first_token_seconds))
    pairs = pairs[1:]
    colds, warms = [cold for cold, _ in pairs], [warm for _, warm in pairs]
    return median(colds), median(warms), median(cold / warm for cold, warm in pairs)


def chat(llm: LLM, texts: Texts, repeat: int) -> Mark:
    """A system prompt of 200 tokens that every conversation begins with, and a turn of 10."""
    cold, warm, ratio = first_token_ratio(llm, texts.tokens(200), lambda: texts.tokens(10), repeat)
    figures = f"{cold * 1e3:.1f} ms cold, {warm * 1e3:.1f} ms warm: {ratio:.1f} times"
    return Mark("chat: 200 + 10 tokens, first", figures, ">= 10 times", ratio >= 10)


def rag(llm: LLM, texts: Texts, repeat: int) -> Mark:
    """A context of 1000 tokens that many questions of 30 are about."""
    cold, warm, ratio = first_token_ratio(llm, texts.tokens(1000), lambda: texts.tokens(30), repeat)
    figures = f"{cold * 1e3:.1f} ms cold, {warm * 1e3:.1f} ms warm: {ratio:.1f} times"
    return Mark("RAG: 1000 + 30 tokens, first", figures, ">= 20 times", ratio >= 20)


def turns(llm: LLM, texts: Texts) -> Mark:
    """A conversation of ten turns: what was said is not computed again."""
    tokens = texts.tokens(100)
    asked = computed = fresh = 0
    for turn in range(10):
        added = 0 if turn == 0 else 20
        tokens = tokens + texts.tokens(added)
        answer = ask(llm, tokens, max_tokens=20)
        # The last token of an answer was chosen, but never run.
        asked += len(tokens)
        fresh += len(tokens) if turn == 0 else added + 1
        computed += answer.usage.prompt_tokens - answer.usage.cached_tokens
        tokens = tokens + list(answer.token_ids)
    figures = f"{computed} of {asked} prompt tokens computed, {fresh} are new"
    return Mark("conversation of 10 turns", figures, "only new", computed <= fresh)


def seconds_together(llm: LLM, prompts: Sequence[list[int]], *, cache: bool) -> float:
    """A whole batch."""
    begin = time.perf_counter()
    llm.generate(list(prompts), replace(GREEDY, cache_prefix=cache))
    return time.perf_counter() - begin


def batch(llm: LLM, texts: Texts, repeat: int) -> Mark:
    """A hundred prompts of 60 tokens with the same 50 at the beginning, nothing cached before."""
    pairs = []
    for _ in range(repeat):
        instruction = texts.tokens(50)
        prompts = [instruction + texts.tokens(10) for _ in range(100)]
        without = seconds_together(llm, prompts, cache=False)
        pairs.append((without, seconds_together(llm, prompts, cache=True)))
    ratio = median(without / with_cache for without, with_cache in pairs)
    without, with_cache = (median(times) for times in zip(*pairs, strict=True))
    figures = f"{without:.2f} s without, {with_cache:.2f} s with: {ratio:.2f} times"
    return Mark("batch of 100, 50 in common", figures, ">= 1.7 times", ratio >= 1.7)


def mixed(llm: LLM, texts: Texts) -> Mark:
    """Half conversations over four system prompts, three in ten questions on five contexts, the rest new."""
    order = random.Random(3)
    systems = [texts.tokens(120) for _ in range(4)]
    contexts = [texts.tokens(300) for _ in range(5)]
    before = llm.prefix_cache.stats()
    for _ in range(200):
        kind = order.random()
        if kind < 0.6:
            prompt = order.choice(systems) + texts.tokens(15)
        elif kind < 0.9:
            prompt = order.choice(contexts) + texts.tokens(15)
        else:
            prompt = texts.tokens(100)
        ask(llm, prompt)
    after = llm.prefix_cache.stats()
    found = after.cache_hits + after.partial_hits - before.cache_hits - before.partial_hits
    lookups = after.total_lookups - before.total_lookups
    tokens = (after.reused_tokens - before.reused_tokens) / (after.lookup_tokens - before.lookup_tokens)
    figures = f"{found} of {lookups} lookups hit, {tokens:.0%} of the tokens"
    return Mark("mixed workload", figures, ">= 80 %", found >= 0.8 * lookups)


def nothing_shared(llm: LLM, texts: Texts, repeat: int) -> Mark:
    """Prompts that have nothing in common: what looking up, keeping and evicting cost, the cache being full.

    While it grows, there is also the system's price for memory that was never touched, whoever touches it.
    """
    while not llm.prefix_cache.stats().evictions:
        ask(llm, texts.tokens(400))
    ratios = []
    for turn in range(4 * repeat):
        seconds = {}
        for cache in (turn % 2 == 0, turn % 2 == 1):
            prompts = [texts.tokens(200) for _ in range(4)]
            begin = time.perf_counter()
            for prompt in prompts:
                ask(llm, prompt, max_tokens=16, cache=cache)
            seconds[cache] = time.perf_counter() - begin
        ratios.append(seconds[True] / seconds[False])
    loss = median(ratios) - 1
    return Mark("nothing shared, cache full", f"{loss:+.1%} time with the cache", "<= 2 %", loss <= 0.02)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", default="smollm2-Q4_1", help="as in benches.peers.compare")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--repeat", type=int, default=7)
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    options = parse_arguments()
    path, repeat = files.path_of(options.model), options.repeat
    with LLM(path, threads=options.threads) as llm:
        info, texts = llm.model_info, Texts(llm)
        print(f"{path.name}, {info.isa}, {info.threads} threads, medians of {repeat}")
        chat(llm, texts, repeat).show()
        turns(llm, texts).show()
        rag(llm, texts, repeat).show()
        batch(llm, texts, max(1, repeat // 2)).show()
        mixed(llm, texts).show()
    with LLM(path, threads=options.threads, kv_cache_bytes=SMALL_BYTES) as llm:
        nothing_shared(llm, texts, repeat).show()


if __name__ == "__main__":
    main()
