"""`/v1/feedback` on a real engine: it changes its tenant's answers, tells how, is bounded, can be undone."""

import json
import math
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from ruvllm import LLM
from ruvllm.async_engine import AsyncEngine
from ruvllm.learning.folder import LearnedFolder
from ruvllm.learning.journal_files import read_journal
from ruvllm.serve import ApiKey, KeyRing, ServedModel, ServerSettings, create_app
from tests.serve.conftest import TINY
from tests.serve.running import RunningServer, running

ACME, OTHER, SLOW = "sk-acme-00001", "sk-other-0001", "sk-slow-00001"
KEYS = KeyRing(
    [
        ApiKey.of(ACME, tenant="acme", is_admin=False),
        ApiKey.of(OTHER, tenant="other", is_admin=False),
        ApiKey(digest=ApiKey.of(SLOW).digest, tenant="slow", requests_per_minute=5),
    ]
)
ASKED = {"messages": [{"role": "user", "content": "the cat sat"}], "max_tokens": 6, "temperature": 0}


class Client:
    """One key's."""

    def __init__(self, server: RunningServer, key: str = "") -> None:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        self._client = httpx.Client(base_url=server.url, headers=headers, timeout=30)

    def post(self, path: str, **body: Any) -> httpx.Response:
        return self._client.post(path, json=body)

    def get(self, path: str) -> httpx.Response:
        return self._client.get(path)

    def ask(self, **more: Any) -> dict[str, Any]:
        found: dict[str, Any] = self.post("/v1/chat/completions", model=TINY, **{**ASKED, **more}).json()
        return found

    def say(self, completion_id: str, **said: Any) -> dict[str, Any]:
        answer = self.post("/v1/feedback", completion_id=completion_id, **said)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.get("/v1/feedback").json()["data"][0]
        return found

    def close(self) -> None:
        self._client.close()


def refused(answer: httpx.Response, status: int, code: str | None = None) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    error: dict[str, Any] = answer.json()["error"]
    assert code is None or error["code"] == code
    return error


@pytest.fixture
def llm(tiny_chat_path: Path) -> Iterator[LLM]:
    with LLM(tiny_chat_path, max_context=512) as llm:
        yield llm


@pytest.fixture
def learned(tmp_path: Path) -> Path:
    return tmp_path / "tiny.learned"


@pytest.fixture
def server(llm: LLM, learned: Path) -> Iterator[RunningServer]:
    model = ServedModel.loaded(TINY, AsyncEngine(llm))
    model.learned_folder = learned
    with running(create_app([model], ServerSettings(keys=KEYS, learn=True))) as server:
        yield server


@pytest.fixture
def acme(server: RunningServer) -> Iterator[Client]:
    client = Client(server, ACME)
    yield client
    client.close()


@pytest.fixture
def other(server: RunningServer) -> Iterator[Client]:
    client = Client(server, OTHER)
    yield client
    client.close()


def logits(llm: LLM, tenant: str) -> np.ndarray:
    return llm.logits(llm.chat_tokens(ASKED["messages"]), tenant=tenant)


def log_probability(llm: LLM, tenant: str, text: str) -> float:
    """Of a text as the answer, by the logits of the whole model in f64."""
    prompt = llm.chat_tokens(ASKED["messages"])
    answer = llm.tokenize(text, add_bos=False, parse_special=False)
    rows = llm.logits([*prompt, *answer], tenant=tenant).astype(np.float64)[len(prompt) - 1 : -1]
    rows -= rows.max(axis=1, keepdims=True)
    rows -= np.log(np.exp(rows).sum(axis=1, keepdims=True))
    return float(rows[np.arange(len(answer)), answer].mean())


# -- what it does


@pytest.mark.parametrize(("feedback", "sign"), [(1, 1), (-1, -1), (0.5, 1)])
def test_feedback_changes_what_the_model_says_to_this_tenant_alone(
    acme: Client, llm: LLM, feedback: float, sign: int
) -> None:
    answer = acme.ask()
    text = answer["choices"][0]["message"]["content"]
    before = {name: logits(llm, name) for name in ("acme", "other", "")}
    likely = log_probability(llm, "acme", text)
    done = acme.say(answer["id"], feedback=feedback)
    assert (done["applied"], done["model"], done["generation"], done["index"]) == (True, TINY, 1, 0)
    assert math.copysign(1, done["log_prob_change"]) == sign
    assert 0 < done["divergence"] <= 0.2 * 1.01
    assert done["advantage"] == pytest.approx(feedback / 2)
    change = log_probability(llm, "acme", text) - likely
    assert math.copysign(1, change) == sign
    for name in ("other", ""):
        np.testing.assert_array_equal(logits(llm, name), before[name])
    assert acme.status() | {"generation": 1, "updates": 1, "feedback": 1, "can_undo": 1} == acme.status()
    undone = acme.post("/v1/feedback/rollback", generation=1).json()
    assert undone["generation"] == 2
    np.testing.assert_array_equal(logits(llm, "acme"), before["acme"])


def test_feedback_as_expected_changes_nothing(acme: Client, llm: LLM) -> None:
    before = logits(llm, "acme")
    done = acme.say(acme.ask()["id"], feedback=0)
    assert not done["applied"]
    assert "expected" in done["reason"]
    np.testing.assert_array_equal(logits(llm, "acme"), before)


def test_a_correction_makes_its_text_likelier(acme: Client, llm: LLM) -> None:
    answer = acme.ask()
    wanted = "a dog ran"
    likely = log_probability(llm, "acme", wanted)
    done = acme.say(answer["id"], corrected=wanted)
    assert done["applied"]
    assert done["log_prob_change"] > 0
    assert log_probability(llm, "acme", wanted) - likely > 0.5 * done["log_prob_change"]


def test_a_correction_marks_down_what_was_said_within_the_same_bounds(acme: Client, llm: LLM) -> None:
    answer = acme.ask()
    said, wanted = answer["choices"][0]["message"]["content"], "a dog ran"
    before = {text: log_probability(llm, "acme", text) for text in (said, wanted)}
    base = logits(llm, "acme")
    done = acme.say(answer["id"], corrected=wanted)
    change = {text: log_probability(llm, "acme", text) - likely for text, likely in before.items()}
    assert change[said] < -0.01
    assert change[wanted] > 0
    assert done["log_prob_change"] == pytest.approx(change[wanted], rel=0.5)
    assert done["divergence"] <= 0.1 * 1.01  # of one feedback of this advantage, at the most
    assert "the answer that was given: -" in done["reason"]
    assert acme.status()["updates"] == acme.status()["feedback"] == done["generation"] == 1
    acme.post("/v1/feedback/rollback", generation=1)
    np.testing.assert_array_equal(logits(llm, "acme"), base)


def test_answers_of_every_dialect_can_be_judged(acme: Client) -> None:
    text = {"prompt": "the cat", "max_tokens": 4}
    streamed = acme.post("/v1/chat/completions", model=TINY, stream=True, **ASKED)
    first = json.loads(streamed.text.split("\n")[0].removeprefix("data: "))
    ids = [
        first["id"],
        acme.post("/v1/completions", model=TINY, **text).json()["id"],
        acme.post("/v1/responses", model=TINY, input="the cat", max_output_tokens=4).json()["id"],
        acme.post("/v1/messages", model=TINY, max_tokens=4, messages=ASKED["messages"]).json()["id"],
    ]
    for index, one in enumerate(ids):
        assert acme.say(one, feedback=1 - index / 10)["completion_id"] == one
    many = acme.ask(n=3, temperature=1, seed=4)["id"]
    for index in (2, 0, 1):
        assert acme.say(many, feedback=-1, index=index)["index"] == index
    refused(acme.post("/v1/feedback", completion_id=many, feedback=1, index=3), 404)
    # Nobody knows which of them the best was.
    best = acme.post("/v1/completions", model=TINY, best_of=3, **text).json()["id"]
    refused(acme.post("/v1/feedback", completion_id=best, feedback=1), 404)


def test_it_is_kept_and_told(acme: Client, server: RunningServer, learned: Path) -> None:
    answer = acme.ask()
    acme.say(answer["id"], feedback=1)
    acme.post("/v1/feedback/rollback")
    server.app.state.server.models.first.learning._keeper.flush()
    first, second = (entry for _, entry in read_journal(LearnedFolder(learned).journal).entries)
    assert (first.tenant, first.completion_id, first.applied) == ("acme", answer["id"], True)
    assert (second.tenant, second.loop, second.generation_after) == ("acme", "rollback", 2)


def test_metrics_count_what_happened(acme: Client) -> None:
    one = acme.ask()["id"]
    acme.say(one, feedback=1)
    acme.say(acme.ask()["id"], feedback=acme.status()["baseline"] * 2 - 1)
    acme.post("/v1/feedback/rollback")
    refused(acme.post("/v1/feedback", completion_id=one, corrected="x" * 20_000), 400)
    found = {
        (sample.name, sample.labels.get("outcome")): sample.value
        for family in text_string_to_metric_families(acme.get("/metrics").text)
        for sample in family.samples
        if "learning" in sample.name
    }
    assert found["ruvllm:learning_feedback_total", "applied"] == 1
    assert found["ruvllm:learning_feedback_total", "unchanged"] == 1
    assert found["ruvllm:learning_feedback_total", "refused"] == 1
    assert found["ruvllm:learning_rollbacks_total", None] == 1
    assert found["ruvllm:learning_update_seconds_count", None] == 2
    assert found["ruvllm:learning_tenants", None] == 1


# -- what is refused, or bounded


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"feedback": 1.5}, "feedback"),
        ({"feedback": -1.0001}, "feedback"),
        ({"feedback": "1"}, "feedback"),
        ({"feedback": True}, "feedback"),
        ({}, "feedback"),
        ({"feedback": 1, "corrected": "x"}, "feedback"),
        ({"corrected": ""}, "corrected"),
        ({"corrected": 7}, "corrected"),
        ({"corrected": "x" * 100_001}, "corrected"),
        ({"feedback": 1, "index": -1}, "index"),
        ({"feedback": 1, "completion_id": ""}, "completion_id"),
        ({"feedback": 1, "completion_id": 5}, "completion_id"),
    ],
)
def test_what_is_no_feedback_is_refused(acme: Client, llm: LLM, body: dict[str, Any], param: str) -> None:
    answer, before = acme.ask()["id"], logits(llm, "acme")
    error = refused(acme.post("/v1/feedback", **{"completion_id": answer, **body}), 400)
    assert error["param"] == param
    np.testing.assert_array_equal(logits(llm, "acme"), before)
    assert acme.status()["feedback"] == 0


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e400"])
def test_what_is_no_number_is_refused(acme: Client, number: str) -> None:
    content = f'{{"completion_id": "{acme.ask()["id"]}", "feedback": {number}}}'
    headers = {"content-type": "application/json"}
    refused(acme._client.post("/v1/feedback", content=content, headers=headers), 400)
    assert acme.status()["feedback"] == 0


def test_unknown_ids_and_other_tenants_ids_are_alike(acme: Client, other: Client, llm: LLM) -> None:
    other.ask()
    answer, before = acme.ask()["id"], {name: logits(llm, name) for name in ("acme", "other")}
    errors = [
        refused(other.post("/v1/feedback", completion_id=one, feedback=1), 404, "completion_not_found")
        for one in (answer, answer[:-1] + "x", "chatcmpl-", "../../x")
    ]
    assert {
        error["message"].replace(repr(one), "")
        for error, one in zip(errors, (answer, answer[:-1] + "x", "chatcmpl-", "../../x"), strict=True)
    } == {errors[0]["message"].replace(repr(answer), "")}
    for name, expected in before.items():
        np.testing.assert_array_equal(logits(llm, name), expected)
    assert other.status()["feedback"] == 0
    refused(other.post("/v1/feedback/rollback"), 409, "cannot_undo")
    acme.say(answer, feedback=1)


def test_contradictory_feedback_stays_bounded(acme: Client, other: Client, llm: LLM) -> None:
    """A hundred times yes and no to one answer: its tenant drifts no farther than it may, the other not."""
    other.ask()
    answer, before = acme.ask()["id"], logits(llm, "other")
    for number in range(100):
        done = acme.say(answer, feedback=1 if number % 2 else -1)
        assert 0 <= done["drift"] <= 1.0
        assert np.isfinite(logits(llm, "acme")).all()
    np.testing.assert_array_equal(logits(llm, "other"), before)


def test_a_flood_is_refused_and_bounded(acme: Client, other: Client, server: RunningServer, llm: LLM) -> None:
    """As much as there is time for, as 10^5 a minute would be: 600 pass, the rest are told to wait."""
    answer, theirs = acme.ask()["id"], other.ask()["id"]
    url, headers = f"{server.url}/v1/feedback", {"authorization": f"Bearer {ACME}"}

    def flood(_: int) -> list[httpx.Response]:
        answers: list[httpx.Response] = []
        with httpx.Client(headers=headers, timeout=60) as client:
            while not answers or answers[-1].status_code != 429:
                answers.append(client.post(url, json={"completion_id": answer, "feedback": 1}))
        return answers

    began = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        answers = [one for batch in pool.map(flood, range(4)) for one in batch]
    codes = [one.status_code for one in answers]
    assert set(codes) == {200, 429}
    # Ten come back in a second.
    assert 600 <= codes.count(200) <= 601 + 10 * (time.monotonic() - began)
    limited = next(one for one in answers if one.status_code == 429)
    assert limited.headers["retry-after"] == "1"
    assert "feedbacks a minute" in limited.json()["error"]["message"]
    assert all(one.json()["drift"] <= 1.0 for one in answers if one.status_code == 200)
    assert np.isfinite(logits(llm, "acme")).all()
    # Nobody else pays for it.
    assert other.say(theirs, feedback=1)["applied"]


def test_a_disk_that_does_not_answer_holds_up_nobody_else(
    acme: Client, other: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ruvllm.learning import state as state_module

    answers = [acme.ask()["id"] for _ in range(3)]
    began, free = threading.Event(), threading.Event()
    replacing = state_module.whole_file.replacing

    def held_up(path: Path) -> Any:
        began.set()
        free.wait(50)
        return replacing(path)

    with monkeypatch.context() as patched, ThreadPoolExecutor(3) as pool:
        patched.setattr(state_module.whole_file, "replacing", held_up)
        try:
            waiting = [pool.submit(acme.say, one, feedback=1) for one in answers]
            assert began.wait(30)
            assert other.get("/health").status_code == 200
            assert other.ask()["choices"]
            # Its own requests go on, too.
            assert acme.ask()["choices"]
            assert not any(one.done() for one in waiting)
        finally:
            free.set()
        assert all(one.result()["generation"] for one in waiting)


def test_the_limits_of_a_key_hold(server: RunningServer) -> None:
    client = Client(server, SLOW)
    answer = client.ask()["id"]
    codes = [client.post("/v1/feedback", completion_id=answer, feedback=1).status_code for _ in range(6)]
    assert codes == [200] * 4 + [429] * 2
    client.close()


def test_only_the_present_generation_is_undone(acme: Client) -> None:
    first = acme.say(acme.ask()["id"], feedback=1)["generation"]
    acme.say(acme.ask()["id"], feedback=-1)
    error = refused(acme.post("/v1/feedback/rollback", generation=first), 409, "cannot_undo")
    assert "not the present one" in error["message"]
    refused(acme.post("/v1/feedback/rollback", steps=3), 409, "cannot_undo")
    refused(acme.post("/v1/feedback/rollback", steps=0), 400)
    refused(acme.post("/v1/feedback/rollback", model="none"), 404)
    assert acme.post("/v1/feedback/rollback", steps=2).status_code == 200
    assert acme.status()["can_undo"] == 0


def test_without_learning_it_says_so(llm: LLM) -> None:
    with running(create_app({TINY: llm})) as server:
        client = Client(server)
        answer = client.ask()["id"]
        error = refused(client.post("/v1/feedback", completion_id=answer, feedback=1), 400, "learning_off")
        assert "--learn" in error["message"]
        refused(client.post("/v1/feedback/rollback"), 400, "learning_off")
        assert client.get("/v1/feedback").json() == {
            "object": "list", "learning": False, "tenant": "", "data": [],
        }  # fmt: skip
        client.close()


def test_without_keys_everybody_is_one_tenant(llm: LLM) -> None:
    with running(create_app({TINY: llm}, ServerSettings(learn=True))) as server:
        client = Client(server)
        assert client.get("/v1/feedback").json()["tenant"] == "default"
        assert client.say(client.ask()["id"], feedback=1)["applied"]
        assert client.status()["updates"] == 1
        client.close()


def test_it_needs_a_key(server: RunningServer) -> None:
    for path in ("/v1/feedback", "/v1/feedback/rollback"):
        assert httpx.post(f"{server.url}{path}", json={}).status_code == 401
    assert httpx.get(f"{server.url}/v1/feedback").status_code == 401


def test_a_folder_that_cannot_be_used_stops_no_answers(
    acme: Client, learned: Path, llm: LLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tenant whose state cannot be read now is answered, and told so when it gives feedback."""
    from ruvllm.learning import state as state_module

    def failing(path: Path) -> Any:
        raise OSError(24, "Too many open files")

    acme.say(acme.ask()["id"], feedback=1)
    with monkeypatch.context() as patched:
        patched.setattr(state_module.whole_file, "replacing", failing)
        error = refused(acme.post("/v1/feedback", completion_id=acme.ask()["id"], feedback=0.9), 507)
        assert str(learned) not in error["message"]
    assert acme.ask()["choices"]
