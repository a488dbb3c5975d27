"""What the server itself costs: sixteen streams through `AsyncEngine`, and the same ones over HTTP.

    python -m benches.serve_cost [MODEL] [--threads N] [--repeat N] [--stream-interval S] [--profile FILE]

Both take turns. The cost is the processor time of the server's event loop for each step of the engine, beside
the time of a step. What a request costs once, from its arrival to its last byte, is told apart by asking for
short answers and for long ones. The client is another process.
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
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import uvicorn

from benches import files
from benches.streams import ANSWER, PARAMS, STREAMS, prompts
from ruvllm import LLM, AsyncEngine
from ruvllm.outputs import Chunk
from ruvllm.serve import ServerSettings, create_app
from ruvllm.serve.running import uvicorn_config

MOST_SHARE = 0.05
LONG_ANSWER = 256
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

    def __init__(self, llm: LLM, settings: ServerSettings, *, profile: bool) -> None:
        self.profile = cProfile.Profile(time.thread_time) if profile else None
        self._uvicorn = uvicorn.Server(uvicorn_config(create_app({MODEL: llm}, settings), drain_seconds=1))
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
def client_of(server: Server, batch: list[list[int]], answer: int) -> Iterator[Callable[[], float]]:
    """The client's process; what is given asks for all streams, each of `answer` tokens: their seconds."""
    body: dict[str, Any] = {
        "model": MODEL,
        "max_tokens": answer,
        "temperature": 0,
        "ignore_eos": True,
        "cache_prefix": False,
        "speculate": False,
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


@dataclass(frozen=True, slots=True)
class Run:
    """One turn of each; seconds."""

    alone: float  # all streams without the server
    step: float
    served: float  # all streams over HTTP
    short: float  # the event loop's, for ANSWER tokens a stream
    long: float  # for LONG_ANSWER tokens

    @property
    def token_cost(self) -> float:
        """What one more token of every stream costs the event loop: a step's cost."""
        return (self.long - self.short) / (LONG_ANSWER - ANSWER)


def measure(llm: LLM, settings: ServerSettings, repeat: int, profile: Path | None) -> None:
    """All in turn, run by run; a first one warms up."""
    batch = prompts(llm.model_info.vocab_size)
    server = Server(llm, settings, profile=profile is not None)

    def one_run(ask_short: Callable[[], float], ask_long: Callable[[], float]) -> Run:
        alone, step = direct(llm, batch)
        begin = server.seconds
        served = ask_short()
        middle = server.seconds
        ask_long()
        return Run(alone, step, served, middle - begin, server.seconds - middle)

    try:
        with client_of(server, batch, ANSWER) as short, client_of(server, batch, LONG_ANSWER) as long:
            runs = [one_run(short, long) for _ in range(repeat + 1)][1:]
    finally:
        server.close()
    if server.profile is not None and profile is not None:
        server.profile.dump_stats(str(profile))
    report(runs, len(batch[0]))


def report(runs: list[Run], prompt_length: int) -> None:
    """Print the medians."""

    def row(name: str, seconds: float, share: float, verdict: str = "") -> None:
        print(f"{name:40}{seconds * 1e3:6.2f} ms {share:6.1%} {verdict}".rstrip())

    tokens = STREAMS * ANSWER
    print(f"{STREAMS} streams of {prompt_length} + {ANSWER} tokens, medians of {len(runs)}")
    print(f"AsyncEngine              {median(tokens / run.alone for run in runs):8.0f} t/s")
    print(f"over HTTP                {median(tokens / run.served for run in runs):8.0f} t/s")
    print(f"over HTTP / AsyncEngine  {median(run.alone / run.served for run in runs):8.3f}")
    print()
    row("a step of the engine", median(run.step for run in runs), 1)
    share = median(run.token_cost / run.step for run in runs)
    verdict = f"< {MOST_SHARE:.0%}   {'reached' if share < MOST_SHARE else 'MISSED'}"
    row("the event loop, a step", median(run.token_cost for run in runs), share, verdict)
    for answer, costs in (
        (ANSWER, [run.short for run in runs]),
        (LONG_ANSWER, [run.long for run in runs]),
    ):
        of_a_step = [cost / answer for cost in costs]
        name = f"  with the requests' own, over {answer} tokens"
        shares = (cost / run.step for cost, run in zip(of_a_step, runs, strict=True))
        row(name, median(of_a_step), median(shares))


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
        "--stream-interval", type=float, default=ServerSettings().stream_interval, help="as of ruvllm serve"
    )
    parser.add_argument(
        "--profile", type=Path, help="write what cProfile says of the event loop; falsifies times"
    )
    options = parser.parse_args()
    given = Path(options.model)
    path = given if given.exists() else files.path_of(options.model)
    settings = ServerSettings(stream_interval=options.stream_interval)
    with LLM(path, threads=options.threads) as llm:
        info = llm.model_info
        print(
            f"{path.name}, {info.isa}, {info.threads} threads, "
            f"pieces at least {settings.stream_interval * 1e3:g} ms apart"
        )
        measure(llm, settings, options.repeat, options.profile)


if __name__ == "__main__":
    main()
