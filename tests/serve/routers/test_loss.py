"""Workers that leave and workers that are killed, behind each router."""

import signal
import threading
import time
from pathlib import Path

import httpx
import pytest

from tests.serve.process import ServeProcess, wait_until
from tests.serve.routers.fleet import Router, workers
from tests.serve.routers.reading import streamed_text

COMPLETIONS = "/v1/completions"
# Seconds after SIGTERM in which a worker is still sent requests: more than the router needs to find out.
DRAIN_DELAY = 4


class Client(threading.Thread):
    """Asks again and again, whole and as a stream, until it is told to stop."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.texts: list[str] = []
        self.failures: list[str] = []
        self._url = url
        self._told = threading.Event()
        self.start()

    def run(self) -> None:
        while not self._told.is_set():
            body = {
                "model": "tiny",
                "prompt": "the cat",
                "max_tokens": 60,
                "temperature": 0,
                "ignore_eos": True,
            }
            try:
                whole = httpx.post(self._url + COMPLETIONS, json=body, timeout=30)
                stream = httpx.post(self._url + COMPLETIONS, json={**body, "stream": True}, timeout=30)
                whole.raise_for_status()
                stream.raise_for_status()
                self.texts += [whole.json()["choices"][0]["text"], streamed_text(COMPLETIONS, stream.text)]
            except (httpx.HTTPError, AssertionError, KeyError) as error:
                self.failures.append(f"{type(error).__name__}: {error}")

    def stop(self) -> "Client":
        self._told.set()
        self.join(30)
        return self


class LongStream(threading.Thread):
    """A stream of some seconds, and whether it came whole."""

    def __init__(self, url: str, model: str) -> None:
        super().__init__(daemon=True)
        self.text = ""
        self._url = url
        self._model = model
        self.start()

    def run(self) -> None:
        body = {
            "model": self._model,
            "prompt": "the cat",
            "max_tokens": 960,
            "ignore_eos": True,
            "stream": True,
        }
        try:
            with httpx.stream("POST", self._url + COMPLETIONS, json=body, timeout=60) as answer:
                for text in answer.iter_text():
                    self.text += text
        except httpx.HTTPError:
            pass

    @property
    def is_whole(self) -> bool:
        return self.text.rstrip().endswith("data: [DONE]") and '"error"' not in self.text


def answers_under_way(worker: ServeProcess) -> int:
    lines = httpx.get(f"{worker.url}/metrics").text.splitlines()
    wanted = ("ruvllm:num_requests_running{", "ruvllm:num_requests_waiting{")
    return int(sum(float(line.split()[-1]) for line in lines if line.startswith(wanted)))


def test_a_worker_that_leaves_loses_nothing(router: Router, tiny_chat_path: Path, tmp_path: Path) -> None:
    with workers(tiny_chat_path, 2, "--drain-delay", str(DRAIN_DELAY)) as (leaving, last):
        # No second attempts: what would be lost by the leaving is seen.
        urls = [leaving.url, last.url]
        with router.before(urls, tmp_path / "log", "--policy", "round_robin", "--disable-retries") as url:
            clients = [Client(url) for _ in range(2)]
            wait_until(lambda: all(client.texts for client in clients))
            leaving.process.send_signal(signal.SIGTERM)
            assert leaving.ended() == 0, leaving.log
            num_before = [len(client.texts) for client in clients]
            wait_until(
                lambda: all(len(one.texts) > count for one, count in zip(clients, num_before, strict=True))
            )
            for client in clients:
                assert not client.stop().failures
                assert len(set(client.texts)) == 1, "an answer was cut"


@pytest.mark.alone
def test_a_worker_that_is_killed_loses_its_own(router: Router, smollm2_path: Path, tmp_path: Path) -> None:
    # A real model: its streams last for seconds, so that none has ended before the kill.
    with workers(smollm2_path, 2) as (killed, last):
        (served,) = httpx.get(f"{killed.url}/v1/models").json()["data"]
        with router.before([killed.url, last.url], tmp_path / "log", "--policy", "round_robin") as url:
            check_killing(url, served["id"], killed, last)


def check_killing(url: str, model: str, killed: ServeProcess, last: ServeProcess) -> None:
    question = {"model": model, "prompt": "the cat", "max_tokens": 4, "temperature": 0}
    streams = [LongStream(url, model) for _ in range(4)]
    # Each worker has some: two, unless the router looks at its workers in between. Each stream has brought
    # its first words: one that had not would be asked of another worker, and lose nothing.
    under_way: list[int] = []

    def all_have_begun() -> bool:
        under_way[:] = [answers_under_way(killed), answers_under_way(last)]
        return all(stream.text for stream in streams) and sum(under_way) == len(streams)

    wait_until(all_have_begun)
    assert all(under_way)
    killed.process.kill()
    killed.ended()
    began = time.monotonic()
    wait_until(lambda: httpx.post(url + COMPLETIONS, json=question, timeout=30).status_code == 200)
    assert time.monotonic() - began < 15
    for _ in range(6):
        answer = httpx.post(url + COMPLETIONS, json=question, timeout=30)
        assert answer.status_code == 200, answer.text
    for stream in streams:
        stream.join(60)
    assert sum(not stream.is_whole for stream in streams) == under_way[0]
