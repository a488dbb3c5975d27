"""How evenly tenants of unlike loads share one engine: Jain's index of their paces beside those alone."""

import asyncio
import itertools
import random
import time
from collections.abc import Sequence

from ruvllm import LLM, AsyncEngine, GenerateParams

__all__ = ["jain", "measure"]

LOADS = ((1, 64), (4, 32), (1, 4, 16, 64), (2, 2, 2, 64), (1, 2, 4, 8, 16, 32, 64, 64), (1,) * 7 + (64,))
PROMPT = 50
PARAMS = GenerateParams(
    max_tokens=60, temperature=0.0, repetition_penalty=1.0, ignore_eos=True, speculate=False
)
MARK = 0.9
# The first part of a run, in which everybody begins at once, is not counted.
WARM_SECONDS = 2.0


def measure(llm: LLM, *, seconds: float) -> bool:
    """Print the table; whether the mark is reached for all loads."""
    alone = {load: _rates(llm, (load,), seconds)[0] for load in sorted(set(itertools.chain(*LOADS)))}
    print("tokens/s alone: " + ", ".join(f"{load}: {rate:.0f}" for load, rate in alone.items()))
    reached = True
    for loads in LOADS:
        rates = _rates(llm, loads, seconds * 2)
        paces = [rate / alone[load] for rate, load in zip(rates, loads, strict=True)]
        index = jain(paces)
        reached = reached and index >= MARK
        print(
            f"loads {loads!s:36} Jain's index {index:.3f} of paces ({jain(rates):.3f} of tokens/s), "
            f"pace of each {' '.join(f'{pace:.2f}' for pace in paces)}   >= {MARK}   "
            f"{'reached' if index >= MARK else 'MISSED'}"
        )
    return reached


def jain(values: Sequence[float]) -> float:
    """1 where all are equal, 1/n where one has all."""
    return sum(values) ** 2 / (len(values) * sum(value**2 for value in values))


def _rates(llm: LLM, loads: Sequence[int], seconds: float) -> list[float]:
    """Tokens a second of tenants that keep so many requests under way each."""
    order = random.Random(sum(loads))
    counts = [0] * len(loads)
    vocabulary = llm.model_info.vocab_size

    async def client(engine: AsyncEngine, tenant: int) -> None:
        while True:
            prompt = [order.randrange(100, vocabulary) for _ in range(PROMPT)]
            async with engine.stream(prompt, PARAMS, tenant=f"tenant-{tenant}", interval=0.02) as stream:
                while chunks := await stream.batch():
                    counts[tenant] += sum(len(chunk.token_ids) for chunk in chunks)

    async def run() -> list[float]:
        engine = AsyncEngine(llm)
        clients = [
            asyncio.create_task(client(engine, tenant))
            for tenant, load in enumerate(loads)
            for _ in range(load)
        ]
        await asyncio.sleep(WARM_SECONDS)
        before, began = list(counts), time.perf_counter()
        await asyncio.sleep(seconds)
        passed = time.perf_counter() - began
        rates = [(after - first) / passed for after, first in zip(counts, before, strict=True)]
        for task in clients:
            task.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
        return rates

    return asyncio.run(run())
