"""The loops behind feedback, in a server: on their thread, asked for, for the tenants that they are for."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from ruvllm import LLM
from ruvllm.async_engine import AsyncEngine
from ruvllm.errors import ConfigError
from ruvllm.learning import LearningKeeper
from ruvllm.serve import ApiKey, KeyRing, ServedModel, ServerSettings, create_app
from ruvllm.serve.model_learning import ModelLearning, Teaching
from tests.serve.conftest import TINY
from tests.serve.running import running
from tests.serve.test_feedback import ACME, ASKED, OTHER, Client, logits, refused

Serve = Callable[..., Callable[[str], Client]]
ADMIN = "sk-admin-0001"
KEYS = KeyRing(
    [
        ApiKey.of(ACME, tenant="acme", is_admin=False),
        ApiKey.of(OTHER, tenant="other", is_admin=False),
        ApiKey.of(ADMIN, tenant="boss"),
    ]
)


@pytest.fixture
def llm(tiny_chat_path: Path) -> Iterator[LLM]:
    with LLM(tiny_chat_path, max_context=512) as llm:
        yield llm


@pytest.fixture
def serve(llm: LLM, tmp_path: Path) -> Iterator[Serve]:
    """Begins a server with settings; gives clients of keys."""
    with ExitStack() as ends:

        def begin(**settings: Any) -> Callable[[str], Client]:
            model = ServedModel.loaded(TINY, AsyncEngine(llm))
            model.learned_folder = tmp_path / "tiny.learned"
            app = create_app([model], ServerSettings(keys=KEYS, learn=True, **settings))
            server = ends.enter_context(running(app))
            return lambda key: ends.enter_context(closing(Client(server, key)))

        yield begin


def until(done: Callable[[], bool]) -> None:
    end = time.monotonic() + 50
    while not done():
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.02)


def rate(client: Client, *feedback: float) -> None:
    for index, one in enumerate(feedback):
        asked = [{"role": "user", "content": f"the cat sat on {index}"}]
        client.say(client.ask(messages=asked)["id"], feedback=one)


def figures(client: Client) -> dict[str, float]:
    return {
        sample.name: sample.value
        for family in text_string_to_metric_families(client.get("/metrics").text)
        for sample in family.samples
        if sample.name.startswith("ruvllm:learning_")
    }


def test_the_background_loop_runs_by_itself_and_is_told(serve: Serve, llm: LLM) -> None:
    client = serve(learn_interval=0.05, learn_samples=3)
    acme, other = client(ACME), client(OTHER)
    rate(acme, 1, -1, 1)
    rate(other, 1)
    until(lambda: bool(acme.status()["background_turns"]))
    status = acme.status()
    assert (status["pending_samples"], other.status()["background_turns"]) == (0, 0)
    assert other.status()["pending_samples"] == 1
    found = figures(acme)
    assert found["ruvllm:learning_background_turns_total"] == 1
    assert found["ruvllm:learning_bytes"] == llm.learning.memory().num_bytes > 10_000
    assert found["ruvllm:learning_tenants"] == 2


def test_it_does_not_where_it_shall_not(serve: Serve, llm: LLM) -> None:
    acme = serve(learn_interval=0, learn_samples=1)(ACME)
    rate(acme, 1, 1)
    assert llm.learning.background("acme") not in llm.learning.background_thread
    # One that is asked for runs all the same.
    done = acme.post("/v1/feedback/consolidate").json()
    assert (done["object"], done["applied"], done["samples"]) == ("feedback.consolidation", True, 2)
    assert done["reason"].startswith("kept: ")
    assert acme.status()["background_turns"] == 1
    again = acme.post("/v1/feedback/consolidate", model=TINY).json()
    assert (again["applied"], again["reason"]) == (False, "nothing was learned since the last time")
    refused(acme.post("/v1/feedback/consolidate", model="nobody"), 404)


def test_the_deep_loop_trains_for_one_tenant(serve: Serve, llm: LLM) -> None:
    client = serve()
    acme, admin = client(ACME), client(ADMIN)
    refused(acme.post("/v1/feedback/train"), 403)
    refused(admin.post("/v1/feedback/train", tenant="nobody"), 404)
    rate(acme, 1, 1, -1, 1)
    assert acme.status()["deep"] is None
    before = {name: logits(llm, name) for name in ("other", "")}
    begun = admin.post("/v1/feedback/train", tenant="acme")
    assert begun.status_code == 200, begun.text
    assert begun.json() | {"tenant": "acme", "model": TINY, "samples": 3} == begun.json()
    until(lambda: acme.status()["deep"]["status"] != "running")
    deep = acme.status()["deep"]
    assert deep["status"] in ("applied", "unchanged")
    assert (deep["samples"], deep["judged"]) == (3, 1)
    assert (deep["log_prob_after"] > deep["log_prob_before"]) == (deep["status"] == "applied")
    assert figures(acme)["ruvllm:learning_deep_turns_total"] == 1
    for name, expected in before.items():
        np.testing.assert_array_equal(logits(llm, name), expected)
    # What a tenant's answers taught is shown to nobody, and nobody can ask for it.
    listed = [one["id"] for one in admin.get("/v1/models").json()["data"]]
    assert listed == [TINY]
    assert admin.get("/v1/lora_adapters").json()["data"] == []
    for one in (acme, admin):
        refused(one.post("/v1/chat/completions", model="learned/acme/5", **ASKED), 404)
    refused(admin.post("/v1/feedback/train"), 400)  # nothing that its own tenant said


def test_no_more_tenants_learn_than_may(serve: Serve, llm: LLM) -> None:
    client = serve(learn_tenants=1)
    acme, other = client(ACME), client(OTHER)
    rate(acme, 1)
    answer = other.ask()
    assert answer["choices"][0]["message"]["content"]
    error = refused(other.post("/v1/feedback", completion_id=answer["id"], feedback=1), 429, "overloaded")
    assert "no more than 1 may" in error["message"]
    assert "acme" not in error["message"]
    rate(acme, 1)
    assert llm.learning.memory().tenants == llm.learning.memory().max_tenants == 1


def test_a_folder_of_more_tenants_than_may_learn_is_refused(llm: LLM, tmp_path: Path) -> None:
    with LearningKeeper(llm.learning, tmp_path, llm.model_info.path) as keeper:
        for name in ("one", "two"):
            keeper.follow(name)
            llm.learn(tenant=name).instant_adapt("the cat", "sat", 1.0)
    for name in ("one", "two"):
        llm.learning.end(name)
    with pytest.raises(ConfigError, match="raise learn_tenants"):
        ModelLearning(llm, tmp_path, Teaching(max_tenants=1))
