"""Requests of several tenants together in asyncio: the urgent ones first, each cancelled at any time.

Run:  python examples/async_requests.py --model smollm2-135m
"""

import argparse
import asyncio

from ruvllm import AsyncEngine, Limits


async def count(engine: AsyncEngine, tenant: str, priority: int) -> str:
    """An answer of a fixed length, and whose it was."""
    answer = await engine.generate(
        "One, two, three,", tenant=tenant, priority=priority, temperature=0, max_tokens=24, ignore_eos=True
    )
    return f"{tenant}: {answer.usage.completion_tokens} tokens"


async def main(model: str) -> None:
    """Have ten requests run two at a time, and end one of a thousand tokens early."""
    async with AsyncEngine.open(model, max_context=2048, limits=Limits(max_running=2)) as engine:
        patient = [asyncio.create_task(count(engine, "patient", 0)) for _ in range(8)]
        urgent = [asyncio.create_task(count(engine, "urgent", 1)) for _ in range(2)]
        order = [(await done).partition(":")[0] for done in asyncio.as_completed([*patient, *urgent])]
        print("in the order of their ends:", " ".join(order))

        stream = engine.stream("Once upon a time", max_tokens=1000, ignore_eos=True)
        async with stream as pieces:
            async for _ in pieces:
                break
        # Its place is free before the next step, which is this one's.
        print(await count(engine, "next", 0), "and", engine.llm.memory_stats().running_requests, "are left")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m", help="a short name, a path, or org/repo:Q4_K_M")
    asyncio.run(main(parser.parse_args().model))
