"""Eight streams alone, and beside callers that open a request, drop it at once and begin again."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from statistics import median
from typing import TypeAlias

from benches.fairness.server import Server
from ruvllm import LLM, GenerateParams

__all__ = ["measure", "measure_server"]

STREAMS = 8
PROMPT = 300
DROP_SECONDS = 0.004
MARKS = {1: 0.8, 4: 0.5}
SERVED_TOKENS = 200
# Different ones over HTTP; none is ever answered, so that none is known when it comes again.
REQUESTS = 2000
_Rates: TypeAlias = dict[int, list[float]]
ENDLESS = GenerateParams(
    max_tokens=4000, temperature=0.0, repetition_penalty=1.0, ignore_eos=True, speculate=False
)


def measure(llm: LLM, *, seconds: float, repeat: int) -> bool:
    """Print what it is in one process; whether all marks are reached."""
    rates: _Rates = {callers: [] for callers in (0, *MARKS)}
    dropped = Counter[int]()
    for _ in range(repeat):
        for callers in rates:
            with _streams(llm) as count, _leaving(partial(_open_and_drop, llm), callers) as drops:
                time.sleep(0.3)
                before, began = count(), time.perf_counter()
                time.sleep(seconds)
                rates[callers].append((count() - before) / (time.perf_counter() - began))
                dropped[callers] += drops()
            _wait_until_free(llm)
    return _report("in one process", rates, dropped)


def measure_server(server: Server, *, repeat: int) -> bool:
    """The same over HTTP with keys."""
    rates: _Rates = {callers: [] for callers in (0, *MARKS)}
    dropped = Counter[int]()

    # Made before: what a client takes to write a request is not what is measured.
    requests = [
        server.request(
            "leaver", "/v1/completions", prompt=_prompt(seed, PROMPT), max_tokens=1000, stream=True
        )
        for seed in range(REQUESTS)
    ]

    def open_and_drop(seed: int) -> None:
        opened = server.send(requests[seed % REQUESTS])
        time.sleep(DROP_SECONDS)
        opened.close()

    for _ in range(repeat):
        for callers in rates:
            with _leaving(open_and_drop, callers) as drops, ThreadPoolExecutor(STREAMS) as pool:
                began = time.perf_counter()
                answers = [
                    pool.submit(server.stream, "streams", _prompt(number, 16), SERVED_TOKENS)
                    for number in range(STREAMS)
                ]
                for answer in answers:
                    answer.result()
                rates[callers].append(STREAMS * SERVED_TOKENS / (time.perf_counter() - began))
                dropped[callers] += drops()
            time.sleep(0.5)
    return _report("over HTTP with keys", rates, dropped)


def _report(where: str, rates: _Rates, dropped: Counter[int]) -> bool:
    alone = median(rates[0])
    print(f"{STREAMS} streams alone {where}: {alone:.0f} tokens/s, medians of {len(rates[0])}")
    reached = True
    for callers, mark in MARKS.items():
        ratio = median(rate / alone for rate, alone in zip(rates[callers], rates[0], strict=True))
        reached = reached and ratio >= mark
        print(
            f"  beside {callers} that open {PROMPT} tokens and drop them after {DROP_SECONDS * 1000:g} ms "
            f"({dropped[callers]} drops): {median(rates[callers]):4.0f} tokens/s, {ratio:.2f} of alone   "
            f">= {mark}   {'reached' if ratio >= mark else 'MISSED'}"
        )
    return reached


@contextmanager
def _streams(llm: LLM) -> Iterator[Callable[[], int]]:
    """Streams of one tenant that never end; gives what counts their tokens."""
    counts = [0] * STREAMS
    streams = [llm.stream(_prompt(number, 16), ENDLESS, tenant="streams") for number in range(STREAMS)]

    def read(number: int) -> None:
        for chunk in streams[number]:
            counts[number] += len(chunk.token_ids)

    threads = [threading.Thread(target=read, args=(number,), daemon=True) for number in range(STREAMS)]
    for thread in threads:
        thread.start()
    while min(counts) < 2:
        time.sleep(0.01)
    try:
        yield lambda: sum(counts)
    finally:
        for stream in streams:
            stream.close()


@contextmanager
def _leaving(open_and_drop: Callable[[int], None], callers: int) -> Iterator[Callable[[], int]]:
    """Callers that open and drop until the end; gives what counts how often."""
    ends = threading.Event()
    drops = [0] * max(1, callers)

    def call(caller: int) -> None:
        while not ends.is_set():
            open_and_drop(100_000 * (caller + 1) + drops[caller])
            drops[caller] += 1

    threads = [threading.Thread(target=call, args=(caller,)) for caller in range(callers)]
    for thread in threads:
        thread.start()
    try:
        yield lambda: sum(drops)
    finally:
        ends.set()
        for thread in threads:
            thread.join()


def _open_and_drop(llm: LLM, seed: int) -> None:
    stream = llm.stream(_prompt(seed, PROMPT), ENDLESS, tenant="leaver")
    time.sleep(DROP_SECONDS)
    stream.close()


def _wait_until_free(llm: LLM) -> None:
    """Everybody's blocks are back, or it is a fault."""
    end = time.perf_counter() + 5
    while llm.memory_stats().running_requests or llm.memory_stats().kv_used_bytes:
        if time.perf_counter() > end:
            raise SystemExit(f"blocks are still held: {llm.memory_stats()}")
        time.sleep(0.01)


def _prompt(seed: int, length: int) -> list[int]:
    """Tokens that have nothing in common with others'."""
    order = random.Random(seed)
    return [order.randrange(100, 9000) for _ in range(length)]
