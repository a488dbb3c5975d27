"""Where the time goes of everything but arithmetic: the package over a tape that plays a model's part.

    python -m benches.replay [MODEL] [--tokens N] [--requests N]

First sixteen streams on the model itself, then the same ones on inventions: scheduler, prefix cache, blocks,
sampler, events, text and streams are those of every day, and what the tape needs for itself is taken off.
What is left, beside a step of the model, is the engine's own cost. Then 64 streams make many tokens, in
requests that begin alike, and what the memory of the process does meanwhile is looked at; and very many short
requests, one after the other on each stream.
"""

import argparse
import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import ruvllm._native as _native
from benches import files
from benches.replay_backend import replay_backend
from benches.workloads import exactly, token_ids
from ruvllm import LLM, AsyncEngine, GenerateParams

MOST_SHARE = 0.03
MOST_GROWTH_BYTES = 32 << 20
# What a tape does in a model's place.
TAPE = ("matmul head", "kv store")
STREAMS = 16
MANY_STREAMS = 64
PROMPT = 128
ANSWER = 256
KV_BYTES = 1 << 30

Request = tuple[list[int], GenerateParams]


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of some streams together, and of what in them."""

    steps: int
    tokens: int
    wall: float
    operations: dict[str, float]

    @property
    def tape(self) -> float:
        """What the tape took for itself."""
        return sum(self.operations.get(name, 0.0) for name in TAPE)

    @property
    def outside(self) -> float:
        """Between the steps: plans, events, text, streams."""
        return self.wall - sum(self.operations.values())

    def parts(self) -> Iterable[tuple[str, float]]:
        """Everything but the tape, by name."""
        yield "between steps: plans, events, text", self.outside
        for name, seconds in self.operations.items():
            if name not in TAPE and seconds > 0:
                yield f"in steps: {name}", seconds


async def serve(engine: AsyncEngine, requests: Iterable[Request], streams: int) -> AsyncIterator[int]:
    """So many streams at a time, each one request after the other; gives the tokens of each answer."""
    left, made = iter(requests), asyncio.Queue[int]()

    async def client() -> None:
        for prompt, params in left:
            tokens = 0
            async with engine.stream(prompt, params) as stream:
                while pieces := await stream.batch():
                    tokens += sum(len(piece.token_ids) for piece in pieces)
            made.put_nowait(tokens)

    clients = asyncio.gather(*(client() for _ in range(streams)))
    while not (clients.done() and made.empty()):
        waiting = asyncio.ensure_future(made.get())
        await asyncio.wait((waiting, clients), return_when=asyncio.FIRST_COMPLETED)
        if waiting.done():
            yield waiting.result()
        else:
            waiting.cancel()
    await clients


def cost_of(llm: LLM) -> Cost:
    """Sixteen streams with nothing in common, which all make tokens nearly all the time."""
    ids = token_ids(STREAMS * PROMPT, llm.model_info.vocab_size)
    requests = [(ids[place * PROMPT : (place + 1) * PROMPT], exactly(ANSWER)) for place in range(STREAMS)]

    async def run() -> int:
        return sum([tokens async for tokens in serve(AsyncEngine(llm), requests, STREAMS)])

    asyncio.run(run())
    llm.start_profile()
    begin = time.perf_counter()
    tokens = asyncio.run(run())
    wall = time.perf_counter() - begin
    profile = llm.take_profile()
    operations = {time.operation: time.seconds for time in profile.times}
    return Cost(steps=profile.steps, tokens=tokens, wall=wall, operations=operations)


def compare(path: Path, threads: int | None) -> None:
    """The model's step, and the engine's own cost beside it."""
    with LLM(path, threads=threads) as llm:
        model = cost_of(llm)
        print(f"{path.name}, {llm.model_info.isa}, {llm.model_info.threads} threads, {STREAMS} streams")
    with LLM(path, threads=threads, backend="replay:seed=1") as llm:
        replayed = cost_of(llm)
    step = model.wall / model.steps
    own = (replayed.wall - replayed.tape) / replayed.steps
    print(f"{'a step of the model':44}{step * 1e6:9.0f} us")
    share = own / step
    verdict = "reached" if share <= MOST_SHARE else "MISSED"
    name = "everything but its arithmetic"
    print(f"{name:44}{own * 1e6:9.0f} us {share:7.2%}   <= {MOST_SHARE:.0%}   {verdict}")
    for name, seconds in replayed.parts():
        seconds /= replayed.steps
        print(f"  {name:42}{seconds * 1e6:9.1f} us {seconds / step:7.2%}")
    print(f"{'  a token of each stream':44}{own / STREAMS * 1e6:9.1f} us")


def requests_of(vocab_size: int, answer: int) -> Iterable[Request]:
    """Without an end: prompts of seven kinds, of which each begins like others of its kind."""
    ids = token_ids(4096, vocab_size)
    for number in itertools.count():
        shared = ids[number % 7 * 256 :][: 16 + 8 * (number % 23)]
        own = ids[number * 13 % 4000 :][: 3 + number % 30]
        params = replace(
            exactly(1 + number * 7 % (2 * answer)), cache_prefix=True, temperature=0.7, seed=number
        )
        yield shared + own, params


def load(path: Path, what: str, *, answer: int, tokens: int, requests: int) -> None:
    """64 streams until there were so many tokens or requests; what it took, and what stayed in memory."""
    with LLM(path, backend="replay:seed=2", kv_cache_bytes=KV_BYTES, max_context=2048) as llm:
        endless = requests_of(llm.model_info.vocab_size, answer)
        made = answers = 0
        resident = []
        begin = time.perf_counter()

        async def run() -> None:
            nonlocal made, answers
            engine = AsyncEngine(llm)
            some = itertools.takewhile(lambda _: made < tokens and answers < requests, endless)
            async for count in serve(engine, some, MANY_STREAMS):
                made, answers = made + count, answers + 1
                if max(made / tokens, answers / requests) * 10 >= len(resident) + 1:
                    resident.append(_native.process_memory()[0])

        asyncio.run(run())
        seconds = time.perf_counter() - begin
        stats = llm.prefix_cache.stats()
    growth = max(resident) - resident[len(resident) // 2]
    verdict = "reached" if growth <= MOST_GROWTH_BYTES else "MISSED"
    found = stats.reused_tokens / max(stats.lookup_tokens, 1)
    each = f"{seconds / answers * 1e6:.0f} us a request, {seconds / made * 1e6:.1f} us a token"
    print(
        f"{what}: {answers} requests, {made} tokens in {seconds:.1f} s; {each}, {found:.0%} of prompts found"
    )
    print("  resident MB by tenths: " + " ".join(f"{bytes_ / 1e6:.0f}" for bytes_ in resident))
    print(
        f"  growth in the second half {growth / 1e6:.1f} MB   <= {MOST_GROWTH_BYTES / 1e6:.0f} MB   {verdict}"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "model", nargs="?", default="smollm2-Q4_1", help="as in benches.peers.compare, or a path"
    )
    parser.add_argument("--threads", type=int)
    parser.add_argument("--tokens", type=int, default=1_000_000)
    parser.add_argument("--requests", type=int, default=100_000)
    options = parser.parse_args()
    path = Path(options.model) if Path(options.model).exists() else files.path_of(options.model)
    with replay_backend():
        compare(path, options.threads)
        load(path, "many tokens", answer=100, tokens=options.tokens, requests=1 << 60)
        load(path, "many requests", answer=2, tokens=1 << 60, requests=options.requests)


if __name__ == "__main__":
    main()
