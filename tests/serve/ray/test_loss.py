"""Workers of a cluster that are killed, that leave, that come because requests wait."""

import os
import signal
import time

import pytest

from tests.serve.process import wait_until
from tests.serve.ray.cluster import figures, wait_for_workers
from tests.serve.ray.conftest import KEY, MAIN, Served
from tests.serve.ray.traffic import Client, LongStream, ask

pytestmark = [pytest.mark.real_model, pytest.mark.timeout(600)]

STREAM_TOKENS = 400


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


def test_a_worker_that_is_killed_loses_its_own_and_is_replaced(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    streams, under_way = running_streams(served)
    os.kill(served.cluster.workers(MAIN)[0], signal.SIGKILL)
    began = time.monotonic()
    assert ask(served.url, "who goes on?", KEY).status_code == 200
    next_answer = time.monotonic() - began
    client = Client(served.url, "the dog", KEY)
    now: dict[str, float] = {}

    def is_whole_again() -> bool:
        now.update(figures(served.url, "num_requests_running", KEY))
        return len(now.keys() - under_way.keys()) == 1

    wait_until(is_whole_again, 120)
    healed = time.monotonic() - began
    for stream in streams:
        stream.join(120)
    assert not client.stop().failures
    [killed] = under_way.keys() - figures(served.url, "num_requests_running", KEY).keys()
    assert sum(not stream.is_whole for stream in streams) == under_way[killed] > 0
    with capsys.disabled():
        print(
            f"\nRay: after kill -9 the next answer came in {next_answer:.1f} s, a new worker in {healed:.1f} s"
        )


def test_a_worker_that_leaves_loses_nothing(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
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
    with capsys.disabled():
        print(
            f"\nRay: {sum(map(lambda one: len(one.failures), clients))} failures of {2 * answers} on a drain"
        )
    assert [client.failures for client in clients] == [[], []]
