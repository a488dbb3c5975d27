"""Tenants with keys on one server: who asks for more than its key allows, and who fills what all share.

Limits count answers and are given back however a request ends; what is full is taken from who holds the most.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from ruvllm import LLM, PrefixCacheConfig
from ruvllm.config import Limits
from ruvllm.serve import KeyRing, ServerSettings, create_app, entrance, read_key_file
from tests.serve.conftest import TINY
from tests.serve.raw import (
    assert_nothing_left,
    connection,
    hang_up,
    json_request,
    read_answer,
    request_bytes,
    seconds_until,
)
from tests.serve.running import RunningServer, running

KEYS = """
sk-alice-0001  tenant=alice  concurrent-requests=4
sk-alice-0002  tenant=alice  concurrent-requests=4
sk-bob-000001  tenant=bob
sk-carol-0001  tenant=carol
sk-carol-0002  tenant=carol
"""
ALICE, ALICE_TOO, BOB, CAROL, CAROL_TOO = (line.split()[0] for line in KEYS.split("\n") if line)
TEXT = {"model": TINY, "prompt": "hi", "max_tokens": 1}
LONG = {"model": TINY, "prompt": ["a", "b", "c", "d"], "max_tokens": 400, "ignore_eos": True}


@pytest.fixture
def ring(tmp_path: Path) -> KeyRing:
    path = tmp_path / "keys.txt"
    path.write_text(KEYS)
    return KeyRing(read_key_file(path))


@pytest.fixture
def server(tiny_chat: LLM, ring: KeyRing) -> Iterator[RunningServer]:
    settings = ServerSettings(
        keys=ring, max_body_bytes=200_000, max_stored_responses=40, max_stored_bytes=400_000
    )
    with running(create_app({TINY: tiny_chat}, settings)) as server:
        yield server


@pytest.fixture(autouse=True)
def clients(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One client for all, since to make one takes longer than to answer it."""
    with httpx.Client(timeout=30) as client:
        monkeypatch.setattr(httpx, "post", client.post)
        monkeypatch.setattr(httpx, "get", client.get)
        yield


def ask(server: RunningServer, key: str, path: str = "/v1/completions", **body: Any) -> httpx.Response:
    headers = {"authorization": f"Bearer {key}"}
    return httpx.post(f"{server.url}{path}", json=body or TEXT, headers=headers)


# -- limits


def authorized(request: bytes, key: str) -> bytes:
    return request.replace(b"\r\n\r\n", f"\r\nauthorization: Bearer {key}\r\n\r\n".encode(), 1)


@contextmanager
def sent(server: RunningServer, body: Any, path: str = "/v1/completions") -> Iterator[Any]:
    """A connection on which alice has asked for something, and hangs up at the end without a goodbye."""
    with connection(server) as opened:
        opened.sendall(authorized(json_request(path, body), ALICE))
        yield opened
        hang_up(opened)


def whole(server: RunningServer) -> None:
    assert ask(server, ALICE, **{**TEXT, "prompt": ["a"] * 4}).status_code in (200, 429)


def read_a_stream(server: RunningServer) -> None:
    with connection(server) as opened:
        body = {**LONG, "max_tokens": 3, "stream": True}
        opened.sendall(authorized(json_request("/v1/completions", body), ALICE))
        read_answer(opened)


def leave_a_stream(server: RunningServer) -> None:
    with sent(server, {**LONG, "stream": True}) as opened:
        opened.recv(100)


def leave_at_once(server: RunningServer) -> None:
    for stream in (True, False):
        with sent(server, {**LONG, "stream": stream}):
            pass


def leave_embeddings(server: RunningServer) -> None:
    with sent(server, {"model": TINY, "input": ["a word " * 40] * 4}, "/v1/embeddings"):
        pass


def leave_scores(server: RunningServer) -> None:
    with sent(server, {**LONG, "prompt": ["a word " * 40] * 4, "echo": True, "logprobs": 5}):
        pass


@contextmanager
def begun(server: RunningServer) -> Iterator[None]:
    """A request of alice's whose body is waited for: it is under way."""
    with connection(server) as opened:
        request = request_bytes("POST", "/v1/completions", content_length="1000", expect="100-continue")
        opened.sendall(authorized(request, ALICE))
        assert b" 100 " in opened.recv(4096)
        opened.sendall(b'{"model":')
        yield
        hang_up(opened)


def leave_a_body(server: RunningServer) -> None:
    with connection(server) as opened:
        request = request_bytes("POST", "/v1/completions", content_length="1000") + b'{"model":'
        opened.sendall(authorized(request, ALICE))
        hang_up(opened)


def send_what_is_wrong(server: RunningServer) -> None:
    """Before and after the answers are counted, by the boundary, by the body and by the route."""
    statuses = []
    for path, body in (
        ("/v1/completions", {**TEXT, "model": "nobody"}),
        ("/v1/completions", {**TEXT, "prompt": ["a"] * 300}),
        ("/v1/completions", {**TEXT, "prompt": ["a", "b", "c", "word " * 1000]}),
        ("/v1/completions", {**TEXT, "prompt": ["a", "b", "c", [-1]]}),
        ("/v1/completions", {**TEXT, "prompt": ["a"] * 4, "logit_bias": {"no": 1}}),
        ("/v1/completions", {**TEXT, "prompt": "a" * 300_000}),
        ("/v1/completions", {"tools": 1}),
        ("/v1/embeddings", {"model": TINY, "input": ["a"] * 4, "dimensions": 10**6}),
        ("/v1/embeddings", {"model": TINY, "input": ["a", "b", "c", ""]}),
        ("/v1/chat/completions", {"model": TINY, "messages": [], "n": 4}),
        ("/v1/nothing", {}),
    ):
        statuses.append(ask(server, ALICE, path, **body).status_code)
    headers = {"authorization": f"Bearer {ALICE}"}
    statuses.append(httpx.post(f"{server.api}/completions", content=b"{", headers=headers).status_code)
    assert set(statuses) <= {400, 404, 413, 415, 429}, statuses


def ask_for_too_many(server: RunningServer) -> None:
    for count in (5, 64, 256):
        for stream in (True, False):
            body = {**TEXT, "prompt": ["a"] * count, "stream": stream}
            assert ask(server, ALICE, **body).status_code == 429


WAYS: list[Callable[[RunningServer], None]] = [
    whole,
    read_a_stream,
    leave_a_stream,
    leave_at_once,
    leave_embeddings,
    leave_scores,
    leave_a_body,
    send_what_is_wrong,
    ask_for_too_many,
]


def assert_all_given_back(server: RunningServer) -> None:
    """All four may be had again, soon and at once, and none more."""
    four = {**TEXT, "prompt": ["a"] * 4}
    seconds_until(lambda: ask(server, ALICE, **four).status_code == 200)
    with ExitStack() as ends:
        for _ in range(3):
            ends.enter_context(begun(server))
        assert ask(server, ALICE, **{**TEXT, "prompt": ["a"] * 2}).status_code == 429
        assert ask(server, ALICE).status_code == 200
        ends.enter_context(begun(server))
        assert ask(server, ALICE).status_code == 429
        # It is the key that has them, not its tenant.
        assert ask(server, ALICE_TOO).status_code == 200
    seconds_until(lambda: ask(server, ALICE, **four).status_code == 200)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_fault_2_what_a_request_took_of_its_limits_comes_back(
    server: RunningServer, tiny_chat: LLM, way: Callable[[RunningServer], None]
) -> None:
    for _ in range(3):
        way(server)
    assert_all_given_back(server)
    assert_nothing_left(tiny_chat)


def test_fault_2_in_whatever_company_it_ends(server: RunningServer, tiny_chat: LLM) -> None:
    def rush(seed: int) -> None:
        draw = random.Random(seed)
        for _ in range(40):
            draw.choice(WAYS)(server)

    threads = [threading.Thread(target=rush, args=(seed,)) for seed in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert_all_given_back(server)
    assert_nothing_left(tiny_chat)


def test_fault_2_a_full_queue_keeps_nothing(tiny_chat_path: Path, ring: KeyRing) -> None:
    """Refused by the engine when some of its answers are submitted: these end, and all are given back."""
    limits = Limits(max_running=1, max_waiting=2)
    with (
        LLM(tiny_chat_path, limits=limits) as llm,
        running(create_app({TINY: llm}, ServerSettings(keys=ring))) as server,
    ):
        with connection(server) as opened:
            body = {**LONG, "prompt": ["a"] * 3, "stream": True}
            opened.sendall(authorized(json_request("/v1/completions", body), CAROL))
            opened.recv(4096)
            for path, asked in (
                ("/v1/completions", {**TEXT, "prompt": ["a"] * 4}),
                ("/v1/completions", {**TEXT, "prompt": ["a"] * 4, "stream": True}),
                ("/v1/embeddings", {"model": TINY, "input": ["a"] * 4}),
            ) * 3:
                assert ask(server, ALICE, path, **asked).status_code in (200, 429)
            hang_up(opened)
        seconds_until(lambda: ask(server, ALICE).status_code == 200)
        # Whatever the engine says to four, the key may have them: nothing is left of what went wrong.
        for _ in range(8):
            refused = ask(server, ALICE, **{**TEXT, "prompt": ["a"] * 4})
            assert refused.status_code in (200, 429)
            assert "under way" not in refused.text
        assert_nothing_left(llm)


def test_fault_2_what_computes_nothing_is_not_counted(server: RunningServer) -> None:
    headers = {"authorization": f"Bearer {ALICE}"}
    with ExitStack() as ends:
        for _ in range(4):
            ends.enter_context(begun(server))
        assert ask(server, ALICE).status_code == 429
        for path in ("/v1/models", "/metrics", "/v1/cache", "/v1/responses/resp_1"):
            assert httpx.get(f"{server.url}{path}", headers=headers).status_code in (200, 404)
        assert ask(server, BOB).status_code == 200


@pytest.mark.parametrize("stream", [True, False])
def test_fault_2_the_next_request_may_follow_at_once(server: RunningServer, stream: bool) -> None:
    """A key that may have four has them one after the other: the end of an answer gives them back."""
    body = {**TEXT, "prompt": ["a"] * 4, "stream": stream}
    request = authorized(json_request("/v1/completions", body), ALICE)
    with connection(server) as opened:
        for _ in range(100):
            opened.sendall(request)
            response, _ = read_answer(opened)
            assert response.status == 200


# -- stored responses


def test_fault_1_whoever_opens_one_request_after_the_other_is_let_in_at_a_pace(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside another's request, who is let in meanwhile."""
    monkeypatch.setattr(entrance, "SHARE", 0.005)
    at_once = 1 + int(entrance.BURST_SECONDS * entrance.SHARE / entrance.LEAST_SECONDS)

    def seconds() -> float:
        began = time.monotonic()
        for _ in range(at_once + 8):
            assert ask(server, BOB, **TEXT).status_code == 200
        return time.monotonic() - began

    with begun(server):
        # Eight more than are let in at once; some of it is paid for while the answers are made.
        assert seconds() >= 4 * entrance.LEAST_SECONDS / entrance.SHARE
        assert ask(server, ALICE, **TEXT).status_code == 200


def test_fault_1_who_is_alone_waits_for_nobody(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One request beside another's would be paid for in a month.
    monkeypatch.setattr(entrance, "SHARE", 1e-9)
    for _ in range(20):
        assert ask(server, BOB, **TEXT).status_code == 200


def respond(server: RunningServer, key: str, given: str = "the cat", **fields: Any) -> str:
    body = {"model": TINY, "input": given, "max_output_tokens": 1, **fields}
    answer = ask(server, key, "/v1/responses", **body)
    assert answer.status_code == 200
    return str(answer.json()["id"])


def has(server: RunningServer, key: str, response_id: str) -> bool:
    headers = {"authorization": f"Bearer {key}"}
    answer = httpx.get(f"{server.api}/responses/{response_id}", headers=headers)
    assert answer.status_code in (200, 404)
    return answer.status_code == 200


def test_fault_7_a_flood_of_responses_costs_its_own_tenant(server: RunningServer) -> None:
    """Of 40 that are kept: many small ones of one tenant's two keys, and large ones."""
    mine = [respond(server, BOB) for _ in range(5)]
    theirs = [respond(server, (CAROL, CAROL_TOO)[number % 2]) for number in range(60)]
    assert all(has(server, BOB, one) for one in mine)
    assert [has(server, CAROL, one) for one in theirs] == [False] * 25 + [True] * 35
    for _ in range(10):
        respond(server, CAROL, "the cat sat " * 10, metadata={f"{n}": "x" * 500 for n in range(16)})
    assert all(has(server, BOB, one) for one in mine)
    follow = respond(server, BOB, previous_response_id=mine[0])
    assert has(server, BOB, follow)


def test_fault_7_who_comes_late_gets_a_share_and_no_more(server: RunningServer) -> None:
    carols = [respond(server, CAROL) for _ in range(45)]
    bobs = [respond(server, BOB) for _ in range(30)]
    # Half of 40 each; who then keeps one more gives way to himself.
    assert [has(server, BOB, one) for one in bobs] == [False] * 10 + [True] * 20
    assert [has(server, CAROL, one) for one in carols] == [False] * 25 + [True] * 20


# -- the prefix cache


def prompt(number: int, length: int) -> list[int]:
    """Token ids that are unlike any other number's."""
    draw = random.Random(number)
    return [draw.randrange(3, 300) for _ in range(length)]


def cached_tokens(server: RunningServer, key: str, token_ids: list[int]) -> int:
    answer = ask(server, key, **{**TEXT, "prompt": token_ids})
    assert answer.status_code == 200
    return int(answer.json()["usage"]["prompt_tokens_details"]["cached_tokens"])


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"prefix_cache": PrefixCacheConfig(max_memory_bytes=40 * 12288)}, id="cached bytes"),
        pytest.param({"prefix_cache": PrefixCacheConfig(max_entries=12)}, id="entries"),
        pytest.param({"kv_cache_bytes": 60 * 12288}, id="blocks"),
    ],
)
def test_fault_7_a_flood_of_prompts_leaves_another_s_prefix(
    tiny_chat_path: Path, ring: KeyRing, settings: dict[str, Any]
) -> None:
    """Whatever is full, who fills it gives way: prompts one by one, several at once, and from two keys."""
    with (
        LLM(tiny_chat_path, **settings) as llm,
        running(create_app({TINY: llm}, ServerSettings(keys=ring))) as server,
    ):
        mine = prompt(0, 100)
        assert cached_tokens(server, BOB, mine) == 0
        for number in range(1, 40):
            cached_tokens(server, (CAROL, CAROL_TOO)[number % 2], prompt(number, 150))
        for number in range(100, 120):
            body = {**TEXT, "prompt": [prompt(number * 10 + part, 40) for part in range(4)]}
            assert ask(server, CAROL, **body).status_code == 200
        assert llm.prefix_cache.stats().evictions > 20
        assert cached_tokens(server, BOB, mine) == 99
