"""What the server itself costs: sixteen streams through `AsyncEngine`, and the same ones over HTTP.

    python -m benches.serve_cost [MODEL] [--threads N] [--repeat N] [--profile FILE]

Both take turns. The cost is the processor time of the server's event loop for each step of the engine, beside
the time of a step; it includes the requests' own, spread over their steps. The client is another process.
"""

import argparse
import asyncio
import cProfile
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import uvicorn

from benches import files
from benches.streams import ANSWER, PARAMS, STREAMS, prompts
from ruvllm import LLM, AsyncEngine
from ruvllm.outputs import Chunk
from ruvllm.serve import create_app
from ruvllm.serve.running import uvicorn_config

MOST_SHARE = 0.05
MODEL = "bench"


def direct(llm: LLM, batch: list[list[int]]) -> tuple[float, float]:
    """Seconds of all streams, and of one step once all of them make tokens."""

    async def read(engine: AsyncEngine, prompt: list[int]) -> list[Chunk]:
        chunks: list[Chunk] = []
        async with engine.stream(prompt, PARAMS) as stream:
            while pieces := await stream.batch():
                chunks += pieces
        return chunks

    async def all_of_them() -> tuple[float, float]:
        engine = AsyncEngine(llm)
        begin = time.perf_counter()
        answers = await asyncio.gather(*(read(engine, prompt) for prompt in batch))
        seconds = time.perf_counter() - begin
        timings = [answer[-1].timings for answer in answers]
        first = max(one.first_token_seconds for one in timings if one)
        last = max(one.total_seconds for one in timings if one)
        return seconds, (last - first) / (ANSWER - 1)

    return asyncio.run(all_of_them())


class Server:
    """A server in a thread, whose processor time can be read."""

    def __init__(self, llm: LLM, *, profile: bool) -> None:
        self.profile = cProfile.Profile(time.thread_time) if profile else None
        self._uvicorn = uvicorn.Server(uvicorn_config(create_app({MODEL: llm}), drain_seconds=1))
        self._uvicorn.config.port = 0
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        while not self._uvicorn.started:
            time.sleep(0.01)
        self.port = int(self._uvicorn.servers[0].sockets[0].getsockname()[1])
        assert self._thread.ident is not None
        self._clock = time.pthread_getcpuclockid(self._thread.ident)

    def _run(self) -> None:
        if self.profile is None:
            self._uvicorn.run()
        else:
            self.profile.runcall(self._uvicorn.run)

    @property
    def seconds(self) -> float:
        """What its thread has used of the processor."""
        return time.clock_gettime(self._clock)

    def close(self) -> None:
        """End it."""
        self._uvicorn.should_exit = True
        self._thread.join()


@contextmanager
def client_of(server: Server, batch: list[list[int]]) -> Iterator[Callable[[], float]]:
    """The client's process; what is given asks for all streams and gives their seconds."""
    body: dict[str, Any] = {
        "model": MODEL,
        "max_tokens": ANSWER,
        "temperature": 0,
        "ignore_eos": True,
        "cache_prefix": False,
        "stream": True,
    }
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as bodies:
        bodies.writelines(json.dumps({**body, "prompt": prompt}) + "\n" for prompt in batch)
        bodies.flush()
        command = [sys.executable, "-m", "benches.serve_client", str(server.port), bodies.name]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            asking, answering = process.stdin, process.stdout

            def ask() -> float:
                asking.write("\n")
                asking.flush()
                return float(answering.readline())

            yield ask
            asking.close()


def measure(llm: LLM, repeat: int, profile: Path | None) -> None:
    """Both in turn, run by run; a first pair warms up."""
    batch = prompts(llm.model_info.vocab_size)
    server = Server(llm, profile=profile is not None)
    runs = []
    try:
        with client_of(server, batch) as ask:
            for _ in range(repeat + 1):
                seconds, step = direct(llm, batch)
                before = server.seconds
                served = ask()
                runs.append((seconds, step, served, server.seconds - before))
    finally:
        server.close()
    if server.profile is not None and profile is not None:
        server.profile.dump_stats(str(profile))
    runs = runs[1:]
    tokens = STREAMS * ANSWER
    step = median(one for _, one, _, _ in runs)
    cost = median(one / ANSWER for _, _, _, one in runs)
    share = median(used / ANSWER / one for _, one, _, used in runs)
    print(f"{STREAMS} streams of {len(batch[0])} + {ANSWER} tokens, medians of {repeat}")
    print(f"AsyncEngine              {median(tokens / one for one, _, _, _ in runs):8.0f} t/s")
    print(f"over HTTP                {median(tokens / one for _, _, one, _ in runs):8.0f} t/s")
    print(f"over HTTP / AsyncEngine  {median(one / other for one, _, other, _ in runs):8.3f}")
    print(f"a step of the engine     {step * 1e3:8.2f} ms")
    verdict = "reached" if share < MOST_SHARE else "MISSED"
    print(
        f"the event loop, a step   {cost * 1e3:8.2f} ms   {share:.1%} of it   < {MOST_SHARE:.0%}   {verdict}"
    )
    print(f"the event loop, a token  {cost / STREAMS * 1e6:8.1f} us")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "model", nargs="?", default="smollm2-Q4_1", help="as in benches.peers.compare, or a path"
    )
    parser.add_argument("--threads", type=int)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument(
        "--profile", type=Path, help="write what cProfile says of the event loop; falsifies times"
    )
    options = parser.parse_args()
    given = Path(options.model)
    path = given if given.exists() else files.path_of(options.model)
    with LLM(path, threads=options.threads) as llm:
        info = llm.model_info
        print(f"{path.name}, {info.isa}, {info.threads} threads")
        measure(llm, options.repeat, options.profile)


if __name__ == "__main__":
    main()
