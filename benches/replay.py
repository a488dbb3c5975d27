"""What everything but arithmetic takes: the package over a tape that plays a model's part.

    python -m benches.replay [MODEL] [--tokens N] [--requests N]

First sixteen streams on the model itself, then the same ones on inventions: scheduler, blocks, sampler,
events, text and streams are those of every day. What they take is the processor time of the threads that do
it: of the engine's without what the tape needs for itself, of the one that delivers, and of the callers'
loop. Their sum stands beside the time of a step of the model. Once the streams are plain (the likeliest
token, nothing cached), and once with the default parameters, prefixes that others had, and guesses.

Then 64 streams make many tokens, in requests that begin alike, and what the memory of the process does once
the key-value cache is full is looked at; and very many short requests, one after the other on each stream.
"""

import argparse
import asyncio
import itertools
import threading
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
# Once the cache is full; a token's text alone, kept, would be more.
MOST_BYTES_A_TOKEN = 4.0
# What a tape does in a model's place.
TAPE = ("matmul head", "kv store")
STREAMS = 16
MANY_STREAMS = 64
PROMPT = 128
ANSWER = 256
# Of SmolLM2 about six thousand tokens: they are soon used up.
KV_BYTES = 144 << 20

Request = tuple[list[int], GenerateParams]


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of some streams together: all in all, and of the processor by thread."""

    steps: int
    wall: float
    engine: float
    delivery: float
    callers: float
    operations: dict[str, float]

    @property
    def tape(self) -> float:
        """What the tape took for itself, on the engine's thread."""
        return sum(self.operations.get(name, 0.0) for name in TAPE)

    @property
    def own(self) -> float:
        """Everything but what plays the model."""
        return self.engine - self.tape + self.delivery + self.callers

    def parts(self) -> Iterable[tuple[str, float]]:
        """Everything but the tape, by name."""
        steps = {name: seconds for name, seconds in self.operations.items() if name not in TAPE and seconds}
        yield "the engine's thread", self.engine - self.tape
        yield from ((f"  of that {name}", seconds) for name, seconds in steps.items())
        yield "the thread that delivers", self.delivery
        yield "the callers' loop", self.callers


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


def plain(vocab_size: int) -> list[Request]:
    """Sixteen streams with nothing in common, which all make tokens nearly all the time."""
    ids = token_ids(STREAMS * PROMPT, vocab_size)
    return [(ids[place * PROMPT : (place + 1) * PROMPT], exactly(ANSWER)) for place in range(STREAMS)]


def everyday(vocab_size: int) -> list[Request]:
    """Sixteen that begin alike, with the default parameters."""
    params = GenerateParams(max_tokens=ANSWER, ignore_eos=True, seed=1)
    shared = token_ids(PROMPT // 2, vocab_size)
    return [([*shared, *prompt[PROMPT // 2 :]], params) for prompt, _ in plain(vocab_size)]


def cost_of(llm: LLM, requests: list[Request]) -> Cost:
    """All of them together, after a first time."""

    async def run() -> None:
        async for _ in serve(AsyncEngine(llm), requests, STREAMS):
            pass

    threads = (*llm._open.loop._threads, threading.current_thread())
    clocks = [time.pthread_getcpuclockid(thread.ident) for thread in threads if thread.ident is not None]
    asyncio.run(run())
    llm.start_profile()
    begin, used = time.perf_counter(), [time.clock_gettime(clock) for clock in clocks]
    asyncio.run(run())
    engine, delivery, callers = (
        time.clock_gettime(clock) - before for clock, before in zip(clocks, used, strict=True)
    )
    wall = time.perf_counter() - begin
    profile = llm.take_profile()
    return Cost(
        steps=profile.steps,
        wall=wall,
        engine=engine,
        delivery=delivery,
        callers=callers,
        operations={one.operation: one.seconds for one in profile.times},
    )


def compare(path: Path, threads: int | None) -> None:
    """The model's step, and everything else's cost beside it."""
    with LLM(path, threads=threads) as llm:
        info = llm.model_info
        print(f"{path.name}, {info.isa}, {info.threads} threads, {STREAMS} streams")
        kinds = {"plain": plain(info.vocab_size), "everyday": everyday(info.vocab_size)}
        models = {kind: cost_of(llm, requests) for kind, requests in kinds.items()}
    with LLM(path, threads=threads, backend="replay:seed=1") as llm:
        tapes = {kind: cost_of(llm, requests) for kind, requests in kinds.items()}
    for kind, model in models.items():
        step, own = model.wall / model.steps, tapes[kind].own / tapes[kind].steps
        share = own / step
        verdict = "reached" if share <= MOST_SHARE else "MISSED"
        print(f"{kind + ': a step of the model':44}{step * 1e6:9.0f} us")
        mark = f"<= {MOST_SHARE:.0%}   {verdict}"
        print(f"{'everything but its arithmetic':44}{own * 1e6:9.0f} us {share:7.2%}   {mark}")
        for name, seconds in tapes[kind].parts():
            seconds /= tapes[kind].steps
            print(f"  {name:42}{seconds * 1e6:9.1f} us {seconds / step:7.2%}")
        print(f"  {'for a token of each stream':42}{own / STREAMS * 1e6:9.1f} us")


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


def growth_of(resident: list[tuple[int, int]]) -> float | None:
    """Bytes a token that a process grew by in the second half of its looks: tokens made, and bytes.

    `None` where the system does not tell.

    >>> growth_of([(0, 10), (100, 500), (200, 900), (300, 900), (400, 1000)])
    0.5
    """
    half = resident[len(resident) // 2 :]
    if not half or not half[0][1]:
        return None
    return (max(size for _, size in half) - half[0][1]) / max(half[-1][0] - half[0][0], 1)


def load(path: Path, what: str, *, answer: int, tokens: int, requests: int) -> float | None:
    """64 streams until there were so many tokens or requests; what of memory stayed for each token."""
    with LLM(path, backend="replay:seed=2", kv_cache_bytes=KV_BYTES, max_context=1024) as llm:
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
                if max(made / tokens, answers / requests) * 20 >= len(resident) + 1:
                    resident.append((made, _native.process_memory()[0]))

        asyncio.run(run())
        seconds = time.perf_counter() - begin
        stats = llm.prefix_cache.stats()
    found = stats.reused_tokens / max(stats.lookup_tokens, 1)
    each = f"{seconds / answers * 1e6:.0f} us a request, {seconds / made * 1e6:.1f} us a token"
    print(
        f"{what}: {answers} requests, {made} tokens in {seconds:.1f} s; {each}, {found:.0%} of prompts found"
    )
    print("  resident MB by twentieths: " + " ".join(f"{size / 1e6:.0f}" for _, size in resident))
    growth = growth_of(resident)
    if growth is not None:
        verdict = "reached" if growth <= MOST_BYTES_A_TOKEN else "MISSED"
        print(f"  bytes a token, second half {growth:.2f}   <= {MOST_BYTES_A_TOKEN}   {verdict}")
    return growth


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
