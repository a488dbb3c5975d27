"""Eight streams alone, and beside callers that open a request, drop it at once and begin again."""

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

from ruvllm import LLM, GenerateParams

__all__ = ["measure"]

STREAMS = 8
PROMPT = 300
DROP_SECONDS = 0.004
MARKS = {1: 0.8, 4: 0.5}
ENDLESS = GenerateParams(max_tokens=4000, temperature=0.0, repetition_penalty=1.0, ignore_eos=True)


def measure(llm: LLM, *, seconds: float, repeat: int) -> bool:
    """Print the table; whether all marks are reached."""
    rates: dict[int, list[float]] = {0: [], **{callers: [] for callers in MARKS}}
    dropped: dict[int, int] = dict.fromkeys(rates, 0)
    for _ in range(repeat):
        for callers in rates:
            with _streams(llm) as count, _leavers(llm, callers) as drops:
                time.sleep(0.3)
                before, began = count(), time.perf_counter()
                time.sleep(seconds)
                rates[callers].append((count() - before) / (time.perf_counter() - began))
                dropped[callers] += drops()
            _wait_until_free(llm)
    alone = median(rates[0])
    print(f"{STREAMS} streams alone: {alone:.0f} tokens/s, medians of {repeat}")
    reached = True
    for callers, mark in MARKS.items():
        ratio = median(rate / alone for rate, alone in zip(rates[callers], rates[0], strict=True))
        verdict = "reached" if ratio >= mark else "MISSED"
        reached = reached and ratio >= mark
        print(
            f"beside {callers} that open {PROMPT} tokens and drop them after {DROP_SECONDS * 1000:g} ms "
            f"({dropped[callers]} drops): {median(rates[callers]):4.0f} tokens/s, {ratio:.2f} of alone   "
            f">= {mark}   {verdict}"
        )
    return reached


@contextmanager
def _streams(llm: LLM) -> Iterator:  # type: ignore[type-arg]
    """Streams of one tenant that never end; gives what counts their tokens."""
    counts = [0] * STREAMS
    streams = [
        llm.stream(_prompt(llm, number, 16), ENDLESS, tenant="streams") for number in range(STREAMS)
    ]

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
def _leavers(llm: LLM, callers: int) -> Iterator:  # type: ignore[type-arg]
    """Callers that open and drop until the end; gives what counts how often."""
    ends = threading.Event()
    drops = [0] * max(1, callers)

    def open_and_drop(caller: int) -> None:
        while not ends.is_set():
            stream = llm.stream(_prompt(llm, 1000 * caller + drops[caller], PROMPT), ENDLESS, tenant="leaver")
            time.sleep(DROP_SECONDS)
            stream.close()
            drops[caller] += 1

    threads = [threading.Thread(target=open_and_drop, args=(caller,)) for caller in range(callers)]
    for thread in threads:
        thread.start()
    try:
        yield lambda: sum(drops)
    finally:
        ends.set()
        for thread in threads:
            thread.join()


def _wait_until_free(llm: LLM) -> None:
    """Everybody's blocks are back, or it is a fault."""
    end = time.perf_counter() + 5
    while llm.memory_stats().running_requests or llm.memory_stats().kv_used_bytes:
        if time.perf_counter() > end:
            raise SystemExit(f"blocks are still held: {llm.memory_stats()}")
        time.sleep(0.01)


def _prompt(llm: LLM, seed: int, length: int) -> list[int]:
    """Tokens that have nothing in common with others'."""
    order = random.Random(seed)
    return [order.randrange(100, llm.model_info.vocab_size) for _ in range(length)]
