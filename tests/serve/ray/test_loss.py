"""Workers of a cluster that are killed, that leave, that come because requests wait."""

import os
import signal
import time
from concurrent.futures import Future, ThreadPoolExecutor

import httpx
import pytest

from tests.serve.process import wait_until
from tests.serve.ray.cluster import figures, wait_for_workers
from tests.serve.ray.conftest import KEY, MAIN, Served
from tests.serve.ray.traffic import Client, LongStream, ask

# One cluster, and one process whose tests ask it, which `alone` sees to.
pytestmark = [pytest.mark.alone, pytest.mark.real_model, pytest.mark.timeout(600)]

STREAM_TOKENS = 500


def running_streams(served: Served) -> tuple[list[LongStream], dict[str, float]]:
    """Streams that have begun, of which each of two workers has some; and how many each has."""
    wait_for_workers(served.url, 2, KEY)
    streams: list[LongStream] = []
    under_way: dict[str, float] = {}
    for number in range(16):
        streams.append(LongStream(served.url, KEY, f"stream {number}", STREAM_TOKENS))
        wait_until(lambda: bool(streams[-1].text), 120)
        if number >= 3:
            under_way = figures(served.url, "num_requests_running", KEY)
            if all(under_way.values()):
                break
    assert sum(under_way.values()) == len(streams), under_way
    return streams, under_way


def test_a_worker_that_is_killed_loses_its_own_and_is_replaced(served: Served) -> None:
    streams, _ = running_streams(served)
    under_way: dict[str, float] = {}
    with ThreadPoolExecutor(4) as clients:
        wholes = [
            clients.submit(ask, served.url, "the cat", KEY, f"whole {number}", max_tokens=STREAM_TOKENS)
            for number in range(4)
        ]

        def all_have_begun() -> bool:
            under_way.clear()
            under_way.update(figures(served.url, "num_requests_running", KEY))
            assert not any(one.done() for one in wholes), "answers ended before the worker was killed"
            assert all(one.is_alive() for one in streams), "streams ended before the worker was killed"
            return sum(under_way.values()) == len(streams) + len(wholes)

        wait_until(all_have_begun, 120)
        kill_one(served, streams, wholes, under_way)


def kill_one(
    served: Served,
    streams: list[LongStream],
    wholes: "list[Future[httpx.Response]]",
    under_way: dict[str, float],
) -> None:
    os.kill(served.cluster.workers(MAIN)[0], signal.SIGKILL)
    began = time.monotonic()
    assert ask(served.url, "who goes on?", KEY).status_code == 200
    next_answer = time.monotonic() - began
    client = Client(served.url, "the dog", KEY)
    now: dict[str, float] = {}

    def is_whole_again() -> bool:
        now.clear()
        now.update(figures(served.url, "num_requests_running", KEY))
        return len(now) == 2 and len(now.keys() - under_way.keys()) == 1

    wait_until(is_whole_again, 120)
    healed = time.monotonic() - began
    for stream in streams:
        stream.join(120)
    assert not client.stop().failures
    [killed] = under_way.keys() - now.keys()
    lost = [answer for answer in (one.result() for one in wholes) if answer.status_code != 200]
    assert sum(not stream.is_whole for stream in streams) + len(lost) == under_way[killed] > 0
    assert [answer.json()["error"]["code"] for answer in lost] == ["worker_lost"] * len(lost)
    print(f"\nRay: after kill -9 an answer came in {next_answer:.1f} s, a new worker in {healed:.1f} s")


def test_a_worker_that_leaves_loses_nothing(served: Served) -> None:
    streams, _ = running_streams(served)
    clients = [Client(served.url, prompt, KEY) for prompt in ("the cat", "a dog ran in the park")]
    wait_until(lambda: all(client.answers for client in clients), 120)
    served.change_worker(served.main, num_replicas=1)
    wait_for_workers(served.url, 1, KEY)
    for stream in streams:
        stream.join(120)
    assert all(stream.is_whole for stream in streams)
    served.change_worker(served.main, num_replicas=2)
    wait_for_workers(served.url, 2, KEY)
    answers = sum(client.stop().answers for client in clients)
    failures = sum(len(client.failures) for client in clients)
    print(f"\nRay: {failures} failures of {2 * answers + len(streams)} requests on a drain")
    assert [client.failures for client in clients] == [[], []]
