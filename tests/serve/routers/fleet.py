"""Workers and a real router in front of them, each a process, as an operator starts them."""

import importlib.util
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.serve.process import ServeProcess, free_port, serving, wait_until

# For workers of two cores; the routers' own defaults wait until one has 64 requests more than another.
BALANCED = ("--balance-abs-threshold", "2", "--balance-rel-threshold", "1.1")
# A worker that leaves or is gone is found out within a second.
ATTENTIVE = (
    *("--health-check-interval-secs", "1", "--health-failure-threshold", "1"),
    *("--health-check-timeout-secs", "2"),
)
# Nobody's refused requests shut a worker to all others.
UNBROKEN = ("--disable-circuit-breaker",)


@dataclass(frozen=True)
class Router:
    """A router of the package index: its name there, the module that starts it, and where it has wheels."""

    name: str
    module: str
    systems: tuple[str, ...]

    def require(self) -> None:
        """Skip the test where the router has no wheel; elsewhere the tests' packages bring it."""
        if sys.platform == "win32":
            pytest.skip("signals of processes are Unix's")
        package = self.module.partition(".")[0]
        if importlib.util.find_spec(package) is not None:
            return
        here = f"{sys.platform} {platform.machine()} {platform.libc_ver()[0]}".strip()
        if here in self.systems:
            pytest.fail(f"{self.name} is not installed: pip install 'ruvllm[test]'")
        pytest.skip(f"{self.name} has no wheel for {here}")

    def command(self, urls: Sequence[str], port: int, *more: str) -> list[str]:
        """Runs it before workers at these addresses."""
        ports = ["--port", str(port), "--prometheus-port", str(free_port())]
        patience = ["--worker-startup-check-interval", "1"]
        start = [sys.executable, "-m", self.module, "--host", "127.0.0.1", *ports, *patience]
        return [*start, *BALANCED, *ATTENTIVE, *UNBROKEN, *more, "--worker-urls", *urls]

    @contextmanager
    def before(
        self,
        urls: Sequence[str],
        log: Path,
        *more: str,
        within: Sequence[str] = (),
        do: Callable[[Callable[[], bool]], bool] = lambda ask: ask(),
    ) -> Iterator[str]:
        """Run it while the block does, before workers that are ready; gives its address.

        Elsewhere, where `within` is what the command begins with there, and `do` asks from there.
        """
        port = free_port()
        command = [*within, *self.command(urls, port, *more)]
        with log.open("wb") as out:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
            try:
                url = f"http://127.0.0.1:{port}"
                wait_until(lambda: process.poll() is not None or do(lambda: _has(url, len(urls))))
                assert process.poll() is None, log.read_text(encoding="utf-8", errors="replace")
                yield url
            finally:
                process.kill()
                process.wait()


_LINUX = ("linux x86_64 glibc", "linux aarch64 glibc")
ROUTERS = (
    Router("vllm-router", "vllm_router.launch_router", _LINUX),
    Router("sglang-router", "sglang_router.launch_router", (*_LINUX, "darwin x86_64", "darwin arm64")),
)


def _has(url: str, num_workers: int) -> bool:
    """Whether a router answers, and has found all of its workers."""
    try:
        answer = httpx.get(f"{url}/workers")
    except httpx.HTTPError:
        return False
    return answer.status_code == 200 and len(answer.json()["workers"]) == num_workers


@contextmanager
def workers(model: Path, count: int, *arguments: str | Path) -> Iterator[list[ServeProcess]]:
    """So many servers of one model, ready."""
    with ExitStack() as running:
        started = [running.enter_context(serving(model, *arguments)) for _ in range(count)]
        yield [worker.wait_until_ready() for worker in started]
