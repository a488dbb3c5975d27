"""What clients see of an application on Ray: the server of `ruvllm serve`, and prefixes found again."""

import json

import httpx
import pytest

from tests.serve.process import wait_until
from tests.serve.ray.cluster import figures, wait_for_workers
from tests.serve.ray.conftest import ADMIN, KEY, SLOW, Served
from tests.serve.ray.traffic import ask, headers
from tests.serve.routers.reading import cached_tokens, content_of, streamed_text, whole_text
from tests.serve.running import RunningServer

# One cluster, and one process whose tests ask it, which `alone` sees to.
pytestmark = [pytest.mark.alone, pytest.mark.real_model, pytest.mark.timeout(600)]

CHAT = "/v1/chat/completions"
SAYS = [{"role": "user", "content": "Name a colour."}]
MODEL = {"model": "smollm2-135m"}
SHORT = {**MODEL, "temperature": 0}
BODIES = [
    (CHAT, {**SHORT, "messages": SAYS, "max_tokens": 8, "logprobs": True}),
    (CHAT, {**SHORT, "messages": SAYS, "max_tokens": 8, "stream": True}),
    ("/v1/completions", {**SHORT, "prompt": [[70, 71, 72], [73]], "max_tokens": 4}),
    ("/v1/responses", {**SHORT, "input": "Name a colour.", "max_output_tokens": 16}),
    ("/v1/messages", {**SHORT, "messages": SAYS, "max_tokens": 8}),
    ("/v1/embeddings", {**MODEL, "input": ["a cat", "a dog"], "dimensions": 8}),
    ("/tokenize", {**MODEL, "messages": SAYS}),
    (
        "/api/chat",
        {**MODEL, "messages": SAYS, "stream": False, "options": {"temperature": 0, "num_predict": 8}},
    ),
]
PREFIXES = ("the cat sat on the mat and " * 6, "a dog ran in the park but " * 6)


def post(served: Served, path: str, body: object, key: str = KEY, session: str = "") -> httpx.Response:
    return httpx.post(served.url + path, json=body, headers=headers(key, session), timeout=120)


def test_answers_are_those_of_one_server(served: Served, real_server: RunningServer) -> None:
    for path, body in BODIES:
        through = post(served, path, body)
        straight = httpx.post(real_server.url + path, json=body, timeout=120)
        if path == "/api/chat":
            assert through.json()["message"] == straight.json()["message"]
        else:
            assert content_of(path, through) == content_of(path, straight), path


def test_prefixes_are_found_again(served: Served) -> None:
    """24 requests of two prefixes, whole and as streams by turns."""
    cached = []
    for turn in range(12):
        for prefix in PREFIXES:
            body = {**SHORT, "messages": [{"role": "user", "content": f"{prefix}{turn}"}], "max_tokens": 4}
            if turn % 2:
                body |= {"stream": True, "stream_options": {"include_usage": True}}
            answer = post(served, CHAT, body)
            assert (streamed_text(CHAT, answer.text) if turn % 2 else whole_text(answer)) != ""
            cached.append(cached_tokens(answer))
    found = sum(count >= 40 for count in cached)
    print(f"\nRay: {found} of {len(cached)} requests of two prefixes found theirs")
    assert found >= 20, cached


def test_each_of_many_prefixes_is_found_again(served: Served) -> None:
    """Chance would find half of them: each is asked twice, and there are two workers."""
    prefixes = [f"Of the number {number} it is said that " + "it is large. " * 20 for number in range(12)]
    cached = []
    for turn in range(2):
        for prefix in prefixes:
            body = {**SHORT, "messages": [{"role": "user", "content": f"{prefix}{turn}"}], "max_tokens": 1}
            cached.append(cached_tokens(post(served, CHAT, body)))
    # What all have in common, such as the template's own words, is no prefix of theirs.
    found = sum(again - first >= 40 for first, again in zip(cached[:12], cached[12:], strict=True))
    print(f"\nRay: {found} of {len(prefixes)} prefixes found again at the second time")
    assert found >= 11, cached


def test_errors_come_as_they_are(served: Served) -> None:
    assert post(served, CHAT, {"messages": SAYS}, key="").status_code == 401
    unknown = post(served, CHAT, {"messages": SAYS, "model": "other"})
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "model_not_found")
    refused = post(served, CHAT, {**SHORT, "messages": SAYS, "max_tokens": 1, "n": 99})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "n")
    assert post(served, "/v1/nothing", {}).json()["error"]["code"] == "unknown_url"
    for garbage in (b"", b"\xff", b"[" * 1000, b'{"messages": ', b"3"):
        sent = {**headers(KEY), "content-type": "application/json"}
        assert httpx.post(served.url + CHAT, content=garbage, headers=sent, timeout=120).status_code == 400
    too_large = httpx.post(
        served.url + CHAT,
        content=b'{"messages": "' + b"x" * (5 * 1024 * 1024) + b'"}',
        headers={**headers(KEY), "content-type": "application/json"},
        timeout=120,
    )
    assert too_large.status_code == 413
    # Pinned to one worker, whose limits are its own.
    answers = [ask(served.url, "a", SLOW, "limits", max_tokens=1) for _ in range(4)]
    assert [one.status_code for one in answers] == [200, 200, 429, 429]
    assert int(answers[-1].headers["retry-after"]) > 0


def test_what_would_change_one_worker_is_refused_and_what_is_for_all_reaches_all(served: Served) -> None:
    loaded = post(served, "/v1/load_lora_adapter", {"lora_name": "x", "lora_path": "y"}, ADMIN)
    assert (loaded.status_code, loaded.json()["error"]["code"]) == (409, "many_workers")
    workers = wait_for_workers(served.url, 2, KEY)
    before = figures(served.url, "http_requests_total", KEY)
    assert post(served, "/v1/cache/flush", {}, ADMIN).status_code == 200
    assert post(served, "/v1/cache/flush", {}, KEY).status_code == 403
    after = figures(served.url, "http_requests_total", KEY)
    # Two flushes each, and the page that was counted before.
    assert {name: after[name] - before[name] for name in workers} == dict.fromkeys(workers, 3.0)


def test_a_session_stays_with_its_worker(served: Served) -> None:
    for session in range(4):
        body = {**MODEL, "input": "hi", "max_output_tokens": 16}
        first = post(served, "/v1/responses", body, session=f"s{session}").json()
        then = post(
            served, "/v1/responses", {**body, "previous_response_id": first["id"]}, session=f"s{session}"
        )
        assert then.status_code == 200, then.text


def test_a_client_that_leaves_takes_its_request_out_of_the_engine(served: Served) -> None:
    body = {**MODEL, "prompt": "the cat", "max_tokens": 7000, "ignore_eos": True, "stream": True}
    with httpx.stream(
        "POST", f"{served.url}/v1/completions", json=body, headers=headers(KEY), timeout=120
    ) as answer:
        events = (line for line in answer.iter_lines() if line.startswith("data: {"))
        assert json.loads(next(events)[6:])["object"] == "text_completion"
        assert sum(figures(served.url, "num_requests_running", KEY).values()) == 1
    wait_until(lambda: sum(figures(served.url, "num_requests_running", KEY).values()) == 0)
    assert sum(figures(served.url, "request_success_total", KEY).values()) > 0
