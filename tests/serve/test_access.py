"""Who is let in: keys and what they may, hosts, origins."""

import re
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import pytest

from ruvllm import LLM
from ruvllm.errors import ConfigError
from ruvllm.params import GenerateParams
from ruvllm.runtime.request import Terms
from ruvllm.serve import ApiKey, KeyRing, ServedModel, ServerSettings, create_app, read_key_file
from ruvllm.serve.errors import ApiError
from ruvllm.serve.limits import KeyLimits
from ruvllm.serve.settings import check_exposure, local_names
from tests.architecture.sources import ROOT
from tests.serve.conftest import TINY
from tests.serve.raw import assert_nothing_left, connection, json_request, read_answer, request_bytes
from tests.serve.running import RunningServer, running

KEYS = """
# key and rights
sk-admin-0001     admin
sk-user-00001     tenant=acme/web
sk-slow-00001     tenant=acme/slow  requests-per-minute=3
sk-single-0001    concurrent-requests=1
sk-small-00001    tenant=small  kv-quota-bytes=4096
sk-few-0000001    tenant=few  concurrent-requests=4
sk-hundred-0001   tenant=hundred  concurrent-requests=100
sk-ten-0000001    tenant=ten  requests-per-minute=10
sk-urgent-0001    tenant=urgent  max-priority=5
"""
HI = {"model": TINY, "prompt": "hi", "max_tokens": 2}
ORIGIN = "https://chat.example"


@pytest.fixture(scope="module")
def server(tiny_chat: LLM, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    path = tmp_path_factory.mktemp("keys") / "keys.txt"
    path.write_text(KEYS)
    settings = ServerSettings(
        keys=KeyRing(read_key_file(path)), cors_origins=(ORIGIN,), allowed_hosts=local_names("127.0.0.1")
    )
    with running(create_app({TINY: tiny_chat}, settings)) as server:
        yield server


def ask(server: RunningServer, key: str, path: str = "/v1/completions", **body: object) -> httpx.Response:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    return httpx.post(f"{server.url}{path}", json=body or HI, headers=headers)


def code_of(answer: httpx.Response) -> str:
    return answer.json()["error"]["code"]


# -- keys


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer sk-nobody-0001"},
        {"authorization": "Bearer"},
        {"authorization": "sk-user-00001"},
        {"authorization": "Basic c2stdXNlci0wMDAwMTo="},
        {"authorization": "Bearer sk-user-0000"},
        {"authorization": "Bearer " + "x" * 5000},
        {"x-api-key": "nobody-00001"},
        {"authorization": b"Bearer \xff\xfe\xfd\xfc\xfb"},
    ],
)
def test_without_a_key_nothing_is_answered(server: RunningServer, headers: dict[str, str]) -> None:
    told = ("/server_info", "/model_info", "/tokenizer_info")
    for path in ("/v1/models", "/metrics", "/v1/cache", *told, "/nothing"):
        answer = httpx.get(f"{server.url}{path}", headers=headers)
        assert answer.status_code == 401, path
        assert answer.headers["www-authenticate"] == "Bearer"
    for path in ("/completions", "/completions/render"):
        answer = httpx.post(f"{server.api}{path}", json=HI, headers=headers)
        assert answer.status_code == 401
        assert code_of(answer) == "invalid_api_key"
        assert "sk-" not in answer.text


def test_what_tells_nothing_needs_no_key(server: RunningServer) -> None:
    for path in ("/", "/health", "/openapi.json"):
        assert httpx.get(f"{server.url}{path}").status_code == 200, path


def test_the_clients_send_their_keys(server: RunningServer) -> None:
    with openai.OpenAI(base_url=server.api, api_key="sk-user-00001") as client:
        assert client.models.list().data[0].id == TINY
    with (
        openai.OpenAI(base_url=server.api, api_key="sk-wrong-0001", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError),
    ):
        client.models.list()
    with anthropic.Anthropic(base_url=server.url, api_key="sk-user-00001") as messenger:
        message = messenger.messages.create(
            model=TINY, max_tokens=2, messages=[{"role": "user", "content": "hi"}]
        )
        assert message.usage.output_tokens <= 2
    with (
        anthropic.Anthropic(base_url=server.url, api_key="sk-wrong-0001", max_retries=0) as messenger,
        pytest.raises(anthropic.AuthenticationError),
    ):
        messenger.models.list()


def test_only_an_admin_changes_the_cache(server: RunningServer) -> None:
    for path in ("/v1/cache/flush", "/v1/cache/save"):
        refused = ask(server, "sk-user-00001", path)
        assert refused.status_code == 403
        assert refused.json()["error"]["type"] == "permission_error"
    assert ask(server, "sk-admin-0001", "/v1/cache/flush").status_code == 200


def test_tenants_do_not_share_prefixes(server: RunningServer) -> None:
    prompt = {"model": TINY, "prompt": "the secret of acme is a long one, " * 6, "max_tokens": 1}

    def cached(key: str) -> int:
        answer = ask(server, key, **prompt)
        return int(answer.json()["usage"]["prompt_tokens_details"]["cached_tokens"])

    assert cached("sk-user-00001") == 0
    assert cached("sk-user-00001") > 0
    assert cached("sk-admin-0001") == 0


# -- limits


def test_requests_per_minute(server: RunningServer) -> None:
    answers = [ask(server, "sk-slow-00001") for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200] * 3 + [429] * 2
    assert code_of(answers[-1]) == "rate_limit_exceeded"
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 21
    # Another key's requests are its own, and asking what there is counts for nothing.
    assert ask(server, "sk-user-00001").status_code == 200
    headers = {"authorization": "Bearer sk-slow-00001"}
    assert httpx.get(f"{server.api}/models", headers=headers).status_code == 200


def test_a_minute_gives_them_back() -> None:
    now = [0.0]
    limits = KeyLimits(clock=lambda: now[0])
    (key,) = one_key(requests_per_minute=2)
    outcomes = []
    for seconds in (0, 0, 0, 29, 31, 31, 600, 600, 600):
        now[0] = seconds
        with suppress(ApiError):
            with limits.request(key):
                outcomes.append(True)
            continue
        outcomes.append(False)
    assert outcomes == [True, True, False, False, True, False, True, True, False]


def test_a_key_is_told_when_its_minute_has_room_again() -> None:
    now = [0.0]
    limits = KeyLimits(clock=lambda: now[0])
    (key,) = one_key(requests_per_minute=6)
    with limits.request(key) as lease:
        lease.cover(6)
    for at, answers, seconds in ((0, 1, 10), (4, 1, 6), (14, 3, 26), (24, 6, 56)):
        now[0] = at
        with pytest.raises(ApiError) as refused, limits.request(key) as lease:
            lease.cover(answers)
        assert refused.value.headers is not None
        # In whole seconds, and rather one too many than one too few.
        assert seconds <= int(refused.value.headers["retry-after"]) <= seconds + 1


def one_key(**rights: Any) -> KeyRing:
    return KeyRing([replace(ApiKey.of("sk-0000001"), **rights)])


def test_concurrent_requests(server: RunningServer, tiny_chat: LLM) -> None:
    """A hundred answers are under way, one more is too many; a client that leaves gives them all back."""
    long = {**HI, "max_tokens": 400, "ignore_eos": True, "stream": True, "prompt": ["a"] * 100}
    bearer = "Bearer sk-hundred-0001"
    request = json_request("/v1/completions", long).replace(
        b"\r\n\r\n", f"\r\nauthorization: {bearer}\r\n\r\n".encode(), 1
    )
    with connection(server) as opened:
        opened.sendall(request)
        assert b"200 OK" in opened.recv(4096)
        refused = ask(server, "sk-hundred-0001")
        assert refused.status_code == 429
        assert code_of(refused) == "rate_limit_exceeded"
        assert "has 100" in refused.json()["error"]["message"]
        assert refused.headers["retry-after"] == "2"
    assert_nothing_left(tiny_chat)
    assert ask(server, "sk-hundred-0001", **{**HI, "prompt": ["a"] * 100}).status_code == 200


PREDICATE = {"type": "predicate", "instructions": "It is polite."}
TEXT = {"model": TINY, "max_tokens": 1}
SAID = {**TEXT, "messages": [{"role": "user", "content": "hi"}]}


@pytest.mark.parametrize(
    ("path", "allowed", "too_many"),
    [
        ("/v1/completions", {**TEXT, "prompt": ["a"] * 4}, {**TEXT, "prompt": ["a"] * 5}),
        ("/v1/completions", {**TEXT, "prompt": [[5]] * 4}, {**TEXT, "prompt": [[5]] * 64}),
        ("/v1/completions", {**TEXT, "prompt": "a", "n": 4}, {**TEXT, "prompt": "a", "n": 5}),
        ("/v1/completions", {**TEXT, "prompt": ["a", "b"], "n": 2}, {**TEXT, "prompt": ["a"] * 3, "n": 2}),
        (
            "/v1/completions",
            {**TEXT, "prompt": "a", "best_of": 4},
            {**TEXT, "prompt": "a", "best_of": 5, "n": 1},
        ),
        (
            "/v1/completions",
            {**TEXT, "prompt": ["one two"] * 4, "max_tokens": 0, "echo": True, "logprobs": 1},
            {**TEXT, "prompt": ["one two"] * 5, "max_tokens": 0, "echo": True, "logprobs": 1},
        ),
        (
            "/v1/completions",
            {**TEXT, "prompt": ["one two"] * 4, "echo": True, "logprobs": 1},
            {**TEXT, "prompt": ["one two"] * 5, "echo": True, "logprobs": 1, "stream": True},
        ),
        ("/v1/chat/completions", {**SAID, "n": 4}, {**SAID, "n": 5}),
        ("/v1/chat/completions", {**SAID, "n": 4, "stream": True}, {**SAID, "n": 5, "stream": True}),
        (
            "/v1/chat/completions",
            {**SAID, "n": 4, "prompt_logprobs": 0},
            {**SAID, "n": 5, "prompt_logprobs": 0},
        ),
        ("/v1/embeddings", {"model": TINY, "input": ["a"] * 4}, {"model": TINY, "input": ["a"] * 5}),
        (
            "/v1/decisions",
            {"model": TINY, "input": "a", "questions": [PREDICATE] * 4},
            {"model": TINY, "input": "a", "questions": [PREDICATE] * 5},
        ),
    ],
)
def test_limits_count_answers(
    server: RunningServer,
    tiny_chat: LLM,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    allowed: dict[str, Any],
    too_many: dict[str, Any],
) -> None:
    """What can never be granted says so, and nothing of it is computed; what can is, again and again."""
    submitted = []
    submit = tiny_chat._loop.submit
    monkeypatch.setattr(
        tiny_chat._loop, "submit", lambda task, sink: (submitted.append(task), submit(task, sink))[1]
    )
    refused = ask(server, "sk-few-0000001", path, **too_many)
    assert refused.status_code == 429
    assert code_of(refused) == "rate_limit_exceeded"
    assert "this key may have 4 at once: ask for fewer" in refused.json()["error"]["message"]
    assert "retry-after" not in refused.headers
    assert not submitted
    for _ in range(2):
        assert ask(server, "sk-few-0000001", path, **allowed).status_code == 200
    assert len(submitted) >= 8


def test_what_is_never_granted_is_not_tried_again(server: RunningServer) -> None:
    """OpenAI's and Anthropic's clients try a 429 again, but for one that says that it is of no use."""
    asked: list[int] = []

    def count(response: httpx.Response) -> None:
        asked.append(response.status_code)

    with (
        httpx.Client(event_hooks={"response": [count]}) as http,
        openai.OpenAI(
            base_url=server.api, api_key="sk-few-0000001", max_retries=3, http_client=http
        ) as client,
        pytest.raises(openai.RateLimitError, match="ask for fewer"),
    ):
        client.completions.create(model=TINY, prompt=["a"] * 64, max_tokens=1)
    assert asked == [429]


def test_answers_in_a_minute(server: RunningServer) -> None:
    def status(count: int) -> int:
        return ask(server, "sk-ten-0000001", **{**TEXT, "prompt": ["a"] * count}).status_code

    never = ask(server, "sk-ten-0000001", **{**TEXT, "prompt": ["a"] * 11})
    assert never.status_code == 429
    assert "this key may have 10 a minute: ask for fewer" in never.json()["error"]["message"]
    assert "retry-after" not in never.headers
    # It counted as one: its body was read.
    assert [status(6), status(2), status(3)] == [200, 200, 429]


def test_a_lease_takes_all_or_nothing() -> None:
    now = [0.0]
    limits = KeyLimits(clock=lambda: now[0])
    (key,) = one_key(requests_per_minute=10, concurrent_requests=8)
    with limits.request(key) as first:
        first.cover(5)
        first.cover(3)  # it has them
        with limits.request(key) as second:
            with pytest.raises(ApiError, match="8 answers under way, and has 5"):
                second.cover(4)
            second.cover(3)
            with pytest.raises(ApiError, match="8 answers under way, and has 8"), limits.request(key):
                pass
    # Eight of ten are used, and nothing is under way.
    with limits.request(key) as third:
        with pytest.raises(ApiError, match="10 answers a minute") as refused:
            third.cover(3)
        assert refused.value.headers is not None
        seconds = float(refused.value.headers["retry-after"])
    now[0] = seconds
    with limits.request(key) as again:
        again.cover(3)
    with pytest.raises(RuntimeError):
        again.cover(4)
    again.close()
    now[0] += 60
    with limits.request(key) as last:
        last.cover(8)


def test_limits_hold_under_a_rush(server: RunningServer) -> None:
    """However requests fall, none of one at a time is lost: afterwards there is room for one again."""
    statuses = []

    def rush() -> None:
        statuses.extend(ask(server, "sk-single-0001").status_code for _ in range(10))

    threads = [threading.Thread(target=rush) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(statuses) <= {200, 429}
    assert ask(server, "sk-single-0001").status_code == 200


def test_a_quota_that_is_too_small_is_said(server: RunningServer) -> None:
    answer = ask(server, "sk-small-00001", **{**HI, "max_tokens": 400})
    assert answer.status_code == 400
    assert code_of(answer) == "insufficient_memory"
    assert "quota" in answer.json()["error"]["message"]


# -- priorities


@pytest.mark.parametrize(
    ("key", "asked", "rank"),
    [
        ("sk-user-00001", 1000, 0),
        ("sk-user-00001", None, 0),
        ("sk-user-00001", -3, -3),
        ("sk-admin-0001", 1000, 0),
        ("sk-urgent-0001", 1000, 5),
        ("sk-urgent-0001", 3, 3),
    ],
)
def test_a_priority_counts_beside_other_tenants_as_far_as_the_key_allows(
    server: RunningServer,
    tiny_chat: LLM,
    monkeypatch: pytest.MonkeyPatch,
    key: str,
    asked: int | None,
    rank: int,
) -> None:
    tasks = []
    submit = tiny_chat._loop.submit
    monkeypatch.setattr(
        tiny_chat._loop, "submit", lambda task, sink: (tasks.append(task), submit(task, sink))[1]
    )
    text = {"model": TINY, "max_tokens": 1, "priority": asked}
    said = {**text, "messages": [{"role": "user", "content": "hi"}]}
    spoken = {"model": TINY, "max_output_tokens": 1, "priority": asked, "input": "hi"}
    bodies = {
        "/v1/completions": {**text, "prompt": ["a word", "two words"], "echo": True, "logprobs": 1},
        "/v1/chat/completions": {**said, "n": 2},
        "/v1/messages": said,
        "/v1/responses": spoken,
    }
    for path, body in bodies.items():
        assert ask(server, key, path, **body).status_code == 200, path
    assert len(tasks) == 4 + 2 + 1 + 1
    assert {(task.priority, task.rank) for task in tasks} == {(asked or 0, rank)}
    assert ask(server, key, "/v1/embeddings", model=TINY, input="hi").status_code == 200
    assert tasks[-1].rank == 0


def test_in_a_program_the_priority_is_all(tiny_chat: LLM) -> None:
    assert tiny_chat._generations.task("hi", GenerateParams(), Terms("a", 7)).rank is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# only words",
        "short",
        "sk-0000001 root",
        "sk-0000001 tenant=",
        "sk-0000001 tenant=a/b/c/d",
        "sk-0000001 tenant=/x",
        "sk-0000001 requests-per-minute=0",
        "sk-0000001 requests-per-minute=-1",
        "sk-0000001 requests-per-minute=many",
        "sk-0000001 kv-quota-bytes=1e9",
        "sk-0000001 kv-quota-bytes=" + "9" * 5000,
        "sk-0000001 max-priority=-1",
        "sk-0000001 max-priority",
        "sk-0000001\nsk-0000001",
    ],
)
def test_bad_key_files_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keys.txt"
    path.write_text(text)
    with pytest.raises(ConfigError) as refusal:
        KeyRing(read_key_file(path))
    assert "sk-0000001" not in str(refusal.value), "a message must not tell a key"


# -- hosts and origins


def test_only_its_own_names_are_answered(server: RunningServer) -> None:
    """A page whose name was made to point here sends its own name as the host."""
    for host, status in {
        "127.0.0.1": 200,
        f"127.0.0.1:{server.port}": 200,
        "localhost:1": 200,
        "LOCALHOST": 200,
        "[::1]:80": 200,
        "evil.example": 403,
        "127.0.0.1.evil.example": 403,
        "localhost:80:80": 403,
        "localhost@evil.example": 403,
        "": 403,
        "[": 403,
    }.items():
        with connection(server) as opened:
            opened.sendall(
                request_bytes("GET", "/health").replace(b"host: 127.0.0.1", f"host: {host}".encode())
            )
            response, _ = read_answer(opened, "GET")
            assert response.status == status, host


@pytest.mark.parametrize("host", ["[", "]", "a b", "\x7f", "a" * 300, "http://x", "%00", "user@host:99999"])
def test_odd_hosts_do_no_harm_where_any_is_answered(tiny_server: RunningServer, host: str) -> None:
    for path in ("/nothing", "/v1/completions/", "/health"):
        with connection(tiny_server) as opened:
            request = request_bytes("GET", path).replace(b"host: 127.0.0.1", b"host: " + host.encode())
            opened.sendall(request)
            response, _ = read_answer(opened, "GET")
            assert response.status < 500, path


def test_a_page_of_an_allowed_origin_may_ask(server: RunningServer) -> None:
    preflight = {
        "origin": ORIGIN,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type",
    }
    allowed = httpx.options(f"{server.api}/chat/completions", headers=preflight)
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == ORIGIN
    refused = httpx.options(
        f"{server.api}/chat/completions", headers={**preflight, "origin": "https://evil.example"}
    )
    assert refused.status_code == 400
    assert "access-control-allow-origin" not in refused.headers
    # An error is readable for it as well.
    error = httpx.post(f"{server.api}/completions", json=HI, headers={"origin": ORIGIN})
    assert error.status_code == 401
    assert error.headers["access-control-allow-origin"] == ORIGIN


def test_an_unforeseen_error_is_readable_too_and_has_its_id(
    tiny_chat: LLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: ServedModel) -> str:
        raise ZeroDivisionError("a secret of the machine")

    monkeypatch.setattr(ServedModel, "fingerprint", property(fail))
    with running(create_app({TINY: tiny_chat}, ServerSettings(cors_origins=(ORIGIN,)))) as server:
        headers = {"origin": ORIGIN, "x-request-id": "mine-1"}
        with httpx.Client() as client:
            for _ in range(2):  # on the same connection
                answer = client.post(f"{server.api}/completions", json=HI, headers=headers)
                assert answer.status_code == 500
                assert code_of(answer) == "internal_error"
                assert "secret" not in answer.text
                assert answer.headers["x-request-id"] == "mine-1"
                assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert_nothing_left(tiny_chat)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.1", "example.org"])
def test_listening_beyond_this_machine_needs_a_key(host: str) -> None:
    open_to_all, keyed = KeyRing(()), one_key()
    with pytest.raises(ConfigError, match="--api-key"):
        check_exposure(host, open_to_all, insecure=False)
    check_exposure(host, keyed, insecure=False)
    check_exposure(host, open_to_all, insecure=True)
    assert local_names(host) is None
    for loopback in ("127.0.0.1", "localhost", "::1", "127.8.8.8"):
        check_exposure(loopback, open_to_all, insecure=False)
        assert local_names(loopback)


@pytest.mark.parametrize(
    ("host", "name"), [("127.8.8.8", "127.8.8.8"), ("0:0:0:0:0:0:0:1", "[0:0:0:0:0:0:0:1]")]
)
def test_a_server_on_this_machine_is_reached_by_the_address_that_it_listens_on(host: str, name: str) -> None:
    assert set(local_names(host) or ()) == {"localhost", "127.0.0.1", "[::1]", name}


def test_the_documents_tell_the_settings_that_stand() -> None:
    """`--write-seconds` (60) in docs/server.md is the default of `write_seconds`, and so are the others."""
    told = re.findall(r"`--([a-z-]+)` \((\d+)\)", (ROOT / "docs/server.md").read_text("utf-8"))
    defaults = {name: getattr(ServerSettings(), name.replace("-", "_"), None) for name, _ in told}
    found = {name: float(value) for name, value in told if defaults[name] is not None}
    assert "write-seconds" in found
    assert found == {name: defaults[name] for name in found}
