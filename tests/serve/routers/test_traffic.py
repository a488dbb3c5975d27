"""Two workers behind each router, asked as clients ask: prefixes, whole streams, keys, refusals."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tests.serve.process import ServeProcess
from tests.serve.routers.fleet import Router, workers
from tests.serve.routers.reading import cached_tokens, content_of, streamed_text, whole_text
from tests.serve.routers.record import CHAT, sent_through

# Of some hundred tokens each.
PREFIXES = ("the cat sat on the mat and " * 6, "a dog ran in the park but " * 6)
QUESTIONS = ("who", "where", "when", "why", "how", "what")


def chat(url: str, text: str, *, key: str = "", **more: Any) -> httpx.Response:
    body = {
        "model": "tiny",
        "messages": [{"role": "user", "content": text}],
        "max_tokens": 8,
        "temperature": 0,
    }
    headers = {"authorization": f"Bearer {key}"} if key else {}
    return httpx.post(url + CHAT, json={**body, **more}, headers=headers, timeout=30)


def chats_served(worker: ServeProcess) -> float:
    lines = httpx.get(f"{worker.url}/metrics").text.splitlines()
    wanted = f'ruvllm:http_requests_total{{method="POST",route="{CHAT}"'
    return sum(float(line.split()[-1]) for line in lines if line.startswith(wanted))


def test_prefixes_are_found_again_and_streams_are_whole(router: Router, front: str) -> None:
    """Two clients with a prefix each, 24 requests, each asked whole and as a stream."""
    with_usage = {"stream": True, "stream_options": {"include_usage": True}}

    def ask(prefix: str) -> list[int]:
        cached = []
        for question in QUESTIONS:
            text = f"{router.name}: {prefix}{question}"
            whole, stream = chat(front, text), chat(front, text, **with_usage)
            assert streamed_text(CHAT, stream.text) == whole_text(whole) != ""
            cached += [cached_tokens(whole), cached_tokens(stream)]
        return cached

    with ThreadPoolExecutor(2) as clients:
        cached = [count for counts in clients.map(ask, PREFIXES) for count in counts]
    assert len(cached) == 24
    assert sum(count >= 80 for count in cached) >= 20, cached


@pytest.mark.parametrize("flags", [(), ("--balance-abs-threshold", "64", "--balance-rel-threshold", "1.5")])
def test_a_prefix_that_many_ask_for_is_shared_out_when_it_is_said(
    router: Router, pair: list[ServeProcess], tmp_path: Path, flags: tuple[str, ...]
) -> None:
    """The routers' own thresholds leave ten long requests with one worker; those of the page do not."""
    with router.before([worker.url for worker in pair], tmp_path / "log", *flags) as url:
        text = f"{router.name} {flags} {PREFIXES[0]}"
        chat(url, text)
        before = [chats_served(worker) for worker in pair]
        with ThreadPoolExecutor(10) as clients:
            asked = [clients.submit(chat, url, text, max_tokens=300, n=8, ignore_eos=True) for _ in range(10)]
        assert {one.result().status_code for one in asked} == {200}
        served = sorted(chats_served(worker) - count for worker, count in zip(pair, before, strict=True))
    assert served == [0, 10] if flags else served[0] >= 2


def test_what_is_sent_through_a_router_gets_the_same_answer(
    router: Router, front: str, pair: list[ServeProcess]
) -> None:
    for path, body in sent_through(router.name):
        through = httpx.post(front + path, json=body, timeout=20)
        straight = httpx.post(pair[0].url + path, json=body, timeout=20)
        assert content_of(path, through) == content_of(path, straight), (path, body)


def test_the_model_is_listed_by_its_name(front: str) -> None:
    with openai.OpenAI(base_url=f"{front}/v1", api_key="none") as client:
        assert [model.id for model in client.models.list()] == ["tiny"]


def test_fields_of_our_own(router: Router, front: str) -> None:
    """`cache_prefix` stands for all that only this server knows; in chats sglang-router leaves it out."""
    text = f"{router.name} keeps nothing: {PREFIXES[0]}"
    answers = [chat(front, text, cache_prefix=False) for _ in range(2)]
    if router.name == "vllm-router":
        assert [cached_tokens(answer) for answer in answers] == [0, 0]
    else:
        assert cached_tokens(answers[1]) > 80


def test_paths_that_are_not_openai_s(router: Router, front: str) -> None:
    says = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}
    passed = 200 if router.name == "vllm-router" else 404
    assert httpx.post(f"{front}/v1/messages", json=says).status_code == passed
    assert httpx.post(f"{front}/tokenize", json={"prompt": "hi"}).status_code == passed


def test_vllm_router_asks_for_tokens(router: Router, front: str, pair: list[ServeProcess]) -> None:
    """It routes by what `/render` answers, which each worker is asked; sglang-router by the text."""

    def rendered() -> list[bool]:
        page = [httpx.get(f"{worker.url}/metrics").text for worker in pair]
        return [f'route="{CHAT}/render",status="200"' in one for one in page]

    chat(front, "how many tokens is this?")
    if router.name == "vllm-router":
        assert rendered() == [True, True]


# -- keys


@pytest.fixture(scope="module")
def keyed(tiny_chat_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServeProcess]:
    """A worker with three tenants, which is silent for longer than its pings."""
    keys = tmp_path_factory.mktemp("keys") / "keys.txt"
    keys.write_text(
        "sk-tenant-a tenant=a\nsk-tenant-b tenant=b\nsk-tenant-slow tenant=slow requests-per-minute=2\n"
    )
    silent = ("--stream-interval", "1", "--ping-seconds", "0.1")
    with workers(tiny_chat_path, 1, "--api-key-file", keys, *silent) as started:
        yield started[0]


@pytest.fixture(scope="module")
def keyed_front(
    router: Router, keyed: ServeProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The router before it, which does not try again what was refused: this would only take longer."""
    log = tmp_path_factory.mktemp("router") / "log"
    with router.before([keyed.url], log, "--disable-retries") as url:
        yield url


def test_a_key_is_the_tenant_also_through_a_router(router: Router, keyed_front: str) -> None:
    assert chat(keyed_front, "hi").status_code == 401
    assert chat(keyed_front, "hi", key="sk-nobody-knows").status_code == 401
    text = f"{router.name}: {PREFIXES[0]}"
    cached = [cached_tokens(chat(keyed_front, text, key=f"sk-tenant-{name}")) for name in "aabb"]
    # A tenant finds what it has computed itself, at most a few tokens of the last test's.
    assert [count > 80 for count in cached] == [False, True, False, True], cached


def test_what_only_openai_s_header_opens(router: Router, keyed_front: str) -> None:
    """vllm-router sends the client's headers on with chats, completions and embeddings, not with the rest."""
    key = {"authorization": "Bearer sk-tenant-a"}
    asked = httpx.post(f"{keyed_front}/v1/responses", json={"model": "tiny", "input": "hi"}, headers=key)
    assert asked.status_code == (401 if router.name == "vllm-router" else 200), asked.text


def test_a_refusal_for_now_reaches_the_client(router: Router, keyed_front: str) -> None:
    """One tenant's refusals come with their Retry-After, and shut the worker to nobody else."""
    answers = [chat(keyed_front, "hi", key="sk-tenant-slow", max_tokens=1) for _ in range(14)]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert len(refused) >= 12
    assert all(int(answer.headers["retry-after"]) > 0 for answer in refused)
    assert {answer.json()["error"]["code"] for answer in refused} == {"rate_limit_exceeded"}
    assert chat(keyed_front, "hi", key="sk-tenant-a").status_code == 200


def test_signs_of_life_pass(router: Router, keyed_front: str) -> None:
    """What keeps a connection open while a long prompt is read: comments between the events of a stream."""
    body = {"model": "tiny", "prompt": ["a b"] * 64, "max_tokens": 440, "ignore_eos": True, "stream": True}
    key = {"authorization": "Bearer sk-tenant-a"}
    answer = httpx.post(f"{keyed_front}/v1/completions", json=body, headers=key, timeout=30)
    assert answer.status_code == 200
    assert any(line.startswith(":") for line in answer.text.splitlines()), answer.text[:400]


# -- sessions

STAYING = {
    "vllm-router": ("x-session-id", "consistent_hash"),
    "sglang-router": ("x-smg-routing-key", "manual"),
}


def test_a_session_stays_with_its_worker(router: Router, pair: list[ServeProcess], tmp_path: Path) -> None:
    """A response is kept by the worker that made it, so what follows it must go there."""
    header, policy = STAYING[router.name]
    with router.before([worker.url for worker in pair], tmp_path / "log", "--policy", policy) as url:

        def ask(session: int, **more: Any) -> httpx.Response:
            body = {"model": "tiny", "input": "hi", "max_output_tokens": 2, **more}
            return httpx.post(f"{url}/v1/responses", json=body, headers={header: f"s{session}"}, timeout=30)

        made = [ask(session) for session in range(8)]
        for _ in range(2):
            made = [
                ask(session, input="go on", previous_response_id=answer.json()["id"])
                for session, answer in enumerate(made)
            ]
            assert [answer.status_code for answer in made] == [200] * 8, made[0].text
