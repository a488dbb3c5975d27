"""Adapters and what tenants taught, on workers that come and go; a tiny model, which answers nonsense."""

import os
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.serve.adapters import FIRST, SECOND, folder
from tests.serve.process import wait_until
from tests.serve.ray.cluster import figures, wait_for_workers
from tests.serve.ray.conftest import LEARNING, Served
from tests.serve.ray.traffic import LongStream, headers

# One cluster, and one process whose tests ask it, which `alone` sees to.
pytestmark = [pytest.mark.alone, pytest.mark.real_model, pytest.mark.timeout(600)]


def post(served: Served, path: str, session: str = "", **body: Any) -> Any:
    answer = httpx.post(served.learning_url + path, json=body, headers=headers(session=session), timeout=120)
    assert answer.status_code == 200, answer.text
    return answer.json()


def answer(served: Served, model: str = "tiny") -> tuple[str, str]:
    made = post(
        served,
        "/v1/chat/completions",
        model=model,
        messages=[{"role": "user", "content": "the cat"}],
        temperature=0,
        max_tokens=12,
    )
    return made["id"], made["choices"][0]["message"]["content"]


def status(served: Served) -> dict[str, Any]:
    [status] = httpx.get(f"{served.learning_url}/v1/feedback", timeout=120).json()["data"]
    return dict(status)


def test_workers_come_while_requests_wait(served: Served) -> None:
    wait_until(lambda: len(served.cluster.workers(LEARNING)) == 1)
    two_workers(served)


def two_workers(served: Served) -> set[str]:
    """Have two workers, by requests that wait where there is one; gives their names."""
    streams: list[LongStream] = []

    def has_grown() -> bool:
        # Of some seconds each; there are always more than two.
        if len(served.cluster.workers(LEARNING)) == 2:
            return True
        streams[:] = [stream for stream in streams if stream.is_alive()]
        streams.extend(LongStream(served.learning_url, "", "", 900, "tiny") for _ in range(6 - len(streams)))
        return len(served.cluster.workers(LEARNING)) == 2

    wait_until(has_grown, 120)
    for stream in streams:
        stream.join(120)
        assert stream.is_whole
    return wait_for_workers(served.learning_url, 2)


def test_what_a_tenant_taught_outlives_its_worker(served: Served) -> None:
    two_workers(served)
    identity, untaught = answer(served)
    for _ in range(3):
        post(served, "/v1/feedback", completion_id=identity, corrected="a dog ran in the park")
    _, taught = answer(served)
    assert taught != untaught
    before = status(served)
    assert before["generation"] == 3
    # All the requests of a tenant go to one worker: that one, which has the seat with what it taught.
    os.kill(owner_of(served, with_tenants=True), signal.SIGKILL)
    wait_until(lambda: httpx.get(f"{served.learning_url}/health", timeout=120).status_code == 200)
    assert answer(served)[1] == taught
    now = status(served)
    assert (now["generation"], now["updates"]) == (3, before["updates"])
    post(served, "/v1/feedback/rollback", steps=3)
    assert answer(served)[1] == untaught


def owner_of(served: Served, *, with_tenants: bool) -> int:
    """The worker whose seat has what tenants taught, by the files that it holds open."""
    seats = Path(served.learning["args"]["learn_dir"])
    for pid in served.cluster.workers(LEARNING):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            target = Path(os.path.realpath(link))
            if seats in target.parents:
                seat = seats.joinpath(*target.relative_to(seats).parts[:2])
                if any((seat / "tenants").glob("*/*.safetensors")) == with_tenants:
                    return pid
    raise AssertionError("no worker has what the tenant taught")


def test_adapters_are_published_to_workers_that_run(served: Served) -> None:
    workers = two_workers(served)
    processes = set(served.cluster.workers(LEARNING))
    texts = [answer(served)[1]]
    for content in (FIRST, SECOND):
        served.change_worker(served.learning, user_config={"adapters": {"tone": str(folder(content))}})
        wait_until(lambda: "tone" in names(served) and answer(served, "tone")[1] not in texts, 120)
        texts.append(answer(served, "tone")[1])
        # The tenant's worker is not the only one that has it.
        assert figures(served.learning_url, "lora_adapters") == dict.fromkeys(workers, 1.0)
    served.change_worker(served.learning, user_config={})
    wait_until(lambda: figures(served.learning_url, "lora_adapters") == dict.fromkeys(workers, 0.0), 120)
    assert set(served.cluster.workers(LEARNING)) == processes


def names(served: Served) -> set[str]:
    models = httpx.get(f"{served.learning_url}/v1/models", timeout=120).json()["data"]
    return {model["id"] for model in models}
