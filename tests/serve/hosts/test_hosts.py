"""A router and two workers on three hosts, with 20 ms and 1 % loss between them; one is cut off and back."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.serve.hosts.hosts import Host, Joined, joined, require_hosts
from tests.serve.process import ServeProcess, serving, wait_until
from tests.serve.routers.fleet import ROUTERS
from tests.serve.routers.reading import streamed_text

pytestmark = [pytest.mark.real_model, pytest.mark.timeout(600)]

COMPLETIONS = "/v1/completions"
DELAY_MS, LOSS = 20.0, 0.01
JUDGED = 3000
# Tokens of a stream that is under way for as long as it takes to begin others.
LONG = 2500
# A slow machine may take this long for what takes a tenth.
PATIENCE = 150.0


class Stream(threading.Thread):
    """A stream that a client on a host asks for."""

    def __init__(self, host: Host, url: str, max_tokens: int) -> None:
        super().__init__(daemon=True)
        self.text = ""
        self._host = host
        self._url = url
        self._max_tokens = max_tokens
        self.start()

    def run(self) -> None:
        self._host.enter()
        body = {
            "model": "tiny",
            "prompt": "the cat",
            "max_tokens": self._max_tokens,
            "temperature": 0,
            "ignore_eos": True,
            "speculate": False,
            "stream": True,
        }
        try:
            with httpx.stream("POST", self._url + COMPLETIONS, json=body, timeout=PATIENCE) as answer:
                for text in answer.iter_text():
                    self.text += text
        except httpx.HTTPError:
            pass

    @property
    def is_whole(self) -> bool:
        return self.text.rstrip().endswith("data: [DONE]") and '"error"' not in self.text


class Fleet:
    """A router on the first host, workers on the others; clients are on the first as well."""

    def __init__(self, together: Joined, url: str, workers: list[ServeProcess]) -> None:
        self.front, *self.others = together.hosts
        self.url = url
        self.workers = workers

    def get(self, url: str) -> httpx.Response:
        return self.front.do(lambda: httpx.get(url, timeout=PATIENCE))

    def ask(self) -> int:
        body = {"model": "tiny", "prompt": "the cat", "max_tokens": 4}
        return self.front.do(
            lambda: httpx.post(self.url + COMPLETIONS, json=body, timeout=PATIENCE)
        ).status_code

    def under_way(self, worker: ServeProcess) -> int:
        return self._figure(worker, "num_requests_running") + self._figure(worker, "num_requests_waiting")

    def answered(self, worker: ServeProcess) -> int:
        return self._figure(worker, f'http_requests_total{{method="POST",route="{COMPLETIONS}"')

    def _figure(self, worker: ServeProcess, name: str) -> int:
        lines = self.get(f"{worker.url}/metrics").text.splitlines()
        return int(sum(float(line.split()[-1]) for line in lines if line.startswith(f"ruvllm:{name}")))

    def healthy(self) -> set[str]:
        workers: list[dict[str, Any]] = self.get(f"{self.url}/workers").json()["workers"]
        return {worker["url"] for worker in workers if worker["is_healthy"]}


@pytest.fixture(scope="module")
def fleet(smollm2_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """vllm-router before two workers of a real model, whose streams last for seconds."""
    require_hosts()
    router = ROUTERS[0]
    router.require()
    log = tmp_path_factory.mktemp("hosts") / "log"
    with joined(3, delay_ms=DELAY_MS, loss=LOSS) as together, ExitStack() as running:
        front, *others = together.hosts
        workers = [
            running.enter_context(
                serving(smollm2_path, "--host", host.address, "--insecure", within=host.within)
            )
            for host in others
        ]
        for worker in workers:
            url = worker.url
            wait_until(lambda: front.do(lambda: _is_ready(url)), PATIENCE)  # noqa: B023
        urls = [worker.url for worker in workers]
        url = running.enter_context(
            router.before(urls, log, "--policy", "round_robin", within=front.within, do=front.do)
        )
        yield Fleet(together, url, workers)
    # Of fewer, none may be lost by chance.
    if together.carried > JUDGED:
        assert together.lost >= together.carried * LOSS / 2, (together.carried, together.lost)


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=PATIENCE).status_code == 200
    except httpx.TransportError:
        return False


def test_the_wire_is_slow(fleet: Fleet) -> None:
    host, _, port = fleet.workers[0].url.removeprefix("http://").partition(":")

    def connecting() -> float:
        began = time.monotonic()
        socket.create_connection((host, int(port)), PATIENCE).close()
        return time.monotonic() - began

    assert min(fleet.front.do(connecting) for _ in range(5)) >= 2 * DELAY_MS / 1000


def test_streams_come_whole(fleet: Fleet) -> None:
    streams = [Stream(fleet.front, fleet.url, 40) for _ in range(6)]
    for stream in streams:
        stream.join(PATIENCE)
    assert len({streamed_text(COMPLETIONS, stream.text) for stream in streams}) == 1
    assert all(stream.is_whole for stream in streams)


def test_a_host_that_is_cut_off_loses_none_but_its_own_and_is_used_again(fleet: Fleet) -> None:
    cut, other = fleet.workers
    streams, of_other = [], []
    for _ in range(4):
        before = fleet.under_way(other)
        streams.append(Stream(fleet.front, fleet.url, LONG))
        wait_until(lambda: bool(streams[-1].text), PATIENCE)
        if fleet.under_way(other) > before:
            of_other.append(streams[-1])
    under_way = [fleet.under_way(worker) for worker in fleet.workers]
    # Nothing has ended, and both have some of which tokens are owed.
    assert under_way == [len(streams) - len(of_other), len(of_other)]
    assert min(under_way) > 0, under_way
    assert not any(stream.is_whole for stream in streams)
    fleet.others[0].cut_off()
    began = time.monotonic()
    wait_until(lambda: fleet.healthy() == {other.url}, PATIENCE)
    noticed = time.monotonic() - began
    # Nobody is sent there any more, and what runs elsewhere goes on.
    assert {fleet.ask() for _ in range(4)} == {200}
    wait_until(lambda: all(stream.is_whole for stream in of_other), PATIENCE)
    fleet.others[0].back()
    began = time.monotonic()
    wait_until(lambda: fleet.healthy() == {cut.url, other.url}, PATIENCE)
    answered = fleet.answered(cut)
    wait_until(lambda: fleet.ask() == 200 and fleet.answered(cut) > answered, PATIENCE)
    used_again = time.monotonic() - began
    # What was under way there is lost, or comes whole and late where its connections have outlived the cut.
    for stream in streams:
        stream.join(PATIENCE)
    whole = sum(stream.is_whole for stream in streams)
    print(
        f"\nhosts: cut off, left out after {noticed:.1f} s; back, used after {used_again:.1f} s; "
        f"{whole} of {len(streams)} streams whole"
    )
