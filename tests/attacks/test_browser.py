"""Pages of other origins, in a browser that is on this machine: they change nothing, by whatever route."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from starlette.routing import BaseRoute, Mount

from ruvllm import LLM
from ruvllm.serve import ApiKey, KeyRing, ServerSettings, create_app
from ruvllm.serve.settings import local_names
from tests.serve.conftest import TINY
from tests.serve.raw import connection, read_answer, read_to_end, request_bytes
from tests.serve.running import RunningServer, running

EVIL = "http://evil.example"
NAMED = "https://chat.example"
CHANGING = ("POST", "PUT", "PATCH", "DELETE", "BREW")
SAFE = ("GET", "HEAD", "OPTIONS")


def with_later_routes(app: FastAPI) -> FastAPI:
    """Routes as somebody adds them one day, each of which would tell that it was reached."""

    async def reached(request: Request) -> dict[str, str]:
        return {"reached": request.url.path}

    app.add_api_route("/later/plain", reached, methods=["GET", *CHANGING])
    app.add_route("/later/starlette", reached, methods=["POST"])
    inner = FastAPI()
    inner.add_api_route("/inner", reached, methods=["POST", "DELETE"])
    app.mount("/later/mounted", inner)
    return app


def paths_of(routes: list[BaseRoute], prefix: str = "") -> Iterator[str]:
    """The path of every route, with something for each of its parameters."""
    for route in routes:
        path = prefix + (getattr(route, "path", None) or "")
        # What is mounted, and what newer FastAPIs keep together as it was included.
        for within in (route if isinstance(route, Mount) else None, getattr(route, "original_router", None)):
            if within is not None:
                yield from paths_of(within.routes, path)
        yield path.replace("{model:path}", TINY).replace("{", "").replace("}", "") or "/"


@pytest.fixture(scope="module")
def server(tiny_chat: LLM) -> Iterator[RunningServer]:
    """Open to this machine, as `ruvllm serve` is without a key."""
    settings = ServerSettings(allowed_hosts=local_names("127.0.0.1"))
    with running(with_later_routes(create_app({TINY: tiny_chat}, settings))) as server:
        yield server


@pytest.fixture(scope="module")
def naming(tiny_chat: LLM) -> Iterator[RunningServer]:
    settings = ServerSettings(cors_origins=(NAMED,), keys=KeyRing([ApiKey.of("sk-user-00001")]))
    with running(create_app({TINY: tiny_chat}, settings)) as server:
        yield server


STRANGERS: dict[str, dict[str, str]] = {
    "another origin": {"origin": EVIL},
    "as browsers send it": {"origin": EVIL, "sec_fetch_site": "cross-site", "sec_fetch_mode": "no-cors"},
    "no origin, another site": {"sec_fetch_site": "cross-site"},
    "no origin, a neighbour": {"sec_fetch_site": "same-site"},
    "no origin, an unknown site": {"sec_fetch_site": "galactic"},
    "null": {"origin": "null"},
    "null, of its own": {"origin": "null", "sec_fetch_site": "same-origin"},
    "empty": {"origin": " "},
    "a file": {"origin": "file://"},
    "an extension": {"origin": "chrome-extension://abcdefgh"},
    "another scheme": {"origin": "ftp://127.0.0.1:{port}"},
    "another port": {"origin": "http://127.0.0.1:1"},
    "no port": {"origin": "http://127.0.0.1"},
    "another name of this machine": {"origin": "http://localhost:{port}"},
    "its own name before another": {"origin": "http://127.0.0.1:{port}.evil.example"},
    "its own name as a user": {"origin": "http://127.0.0.1:{port}@evil.example"},
    "its own name, as a user of itself": {"origin": "http://a@127.0.0.1:{port}"},
    "with a path": {"origin": "http://127.0.0.1:{port}/"},
    "with a query": {"origin": "http://127.0.0.1:{port}?"},
    "no address": {"origin": "http://["},
    "a port beyond all": {"origin": "http://127.0.0.1:99999999"},
    "port 0": {"origin": "http://127.0.0.1:0"},
    "its own, of another site": {"origin": "http://127.0.0.1:{port}", "sec_fetch_site": "cross-site"},
    "two": {"origin": "http://127.0.0.1:{port}\r\norigin: " + EVIL},
    "two, the other way": {"origin": EVIL + "\r\norigin: http://127.0.0.1:{port}"},
}
FRIENDS: dict[str, dict[str, str]] = {
    "curl": {},
    "its own page": {"origin": "http://127.0.0.1:{port}", "sec_fetch_site": "same-origin"},
    "an older browser": {"origin": "http://127.0.0.1:{port}"},
    "behind a proxy with TLS": {"origin": "https://127.0.0.1:{port}", "sec_fetch_site": "same-origin"},
    "in capitals": {"origin": "HTTP://127.0.0.1:{port}"},
    "typed by the user": {"sec_fetch_site": "none"},
}


def send(server: RunningServer, method: str, path: str, body: bytes = b"", **headers: str) -> Any:
    lines = {"host": f"127.0.0.1:{server.port}"} | headers
    with connection(server) as opened:
        filled = {name: value.replace("{port}", str(server.port)) for name, value in lines.items()}
        opened.sendall(request_bytes(method, path, body, **filled))
        response, content = read_answer(opened, method)
        return response.status, content


@pytest.mark.parametrize("headers", STRANGERS.values(), ids=STRANGERS.keys())
def test_fault_6_a_strange_page_flushes_no_cache(server: RunningServer, headers: dict[str, str]) -> None:
    for path in ("/v1/cache/flush", "/v1/cache/save", "/v1/responses"):
        for kind in ("text/plain", "application/json", ""):
            status, content = send(server, "POST", path, content_type=kind, **headers)
            assert status == 403, (path, kind, content)
            assert json.loads(content)["error"]["code"] == "origin_not_allowed"


@pytest.mark.parametrize("headers", FRIENDS.values(), ids=FRIENDS.keys())
def test_who_is_no_strange_page_may(server: RunningServer, headers: dict[str, str]) -> None:
    assert send(server, "POST", "/v1/cache/flush", **headers) == (200, b'{"status":"flushed"}')
    body = json.dumps({"model": TINY, "prompt": "hi", "max_tokens": 1}).encode()
    assert send(server, "POST", "/v1/completions", body, **headers)[0] == 200


@pytest.mark.parametrize("method", CHANGING)
def test_fault_6_no_route_is_left_out(server: RunningServer, method: str) -> None:
    """All that there are, those that somebody adds later, and what is nowhere."""
    paths = {*paths_of(server.app.routes), "/nowhere", "/v1/cache/flush/", "//v1/cache/flush"}
    assert {"/v1/cache/flush", "/v1/messages", "/later/plain", "/later/mounted/inner"} <= paths
    assert len(paths) > 20
    for path in sorted(paths):
        headers = {"origin": EVIL, "content_type": "text/plain"}
        if method == "BREW":  # no method at all: refused before anything
            assert send(server, method, path, **headers)[0] == 400
            continue
        status, content = send(server, method, path, b"{}", **headers)
        assert status == 403, (path, content)
        assert b"reached" not in content
        assert b"may not call this server" in content


def test_pages_may_look_at_what_changes_nothing(server: RunningServer) -> None:
    """They cannot read it: no answer names them."""
    for method in SAFE:
        for path in ("/health", "/", "/v1/models", "/later/plain"):
            answer = httpx.request(method, f"{server.url}{path}", headers={"origin": EVIL})
            assert answer.status_code in (200, 405), (method, path)
            assert "access-control-allow-origin" not in answer.headers


def test_a_named_page_may_call(naming: RunningServer) -> None:
    body = {"model": TINY, "prompt": "hi", "max_tokens": 1}
    headers = {"origin": NAMED, "sec-fetch-site": "cross-site", "authorization": "Bearer sk-user-00001"}
    answer = httpx.post(f"{naming.api}/completions", json=body, headers=headers)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == NAMED
    for origin in (EVIL, "null", NAMED + ":444", NAMED + "/", NAMED.upper(), "http://chat.example"):
        answer = httpx.post(f"{naming.api}/completions", json=body, headers={**headers, "origin": origin})
        assert answer.status_code == 403, origin
        assert "access-control-allow-origin" not in answer.headers


def test_a_preflight_needs_no_key_and_lets_nobody_else_in(naming: RunningServer) -> None:
    wish = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    for origin, status in {NAMED: 200, EVIL: 400, "null": 400}.items():
        answer = httpx.options(f"{naming.api}/chat/completions", headers={"origin": origin, **wish})
        assert answer.status_code == status, origin
        assert ("access-control-allow-origin" in answer.headers) == (status == 200)
        assert answer.headers["x-request-id"]
    # One that only looks like it asks for a key as any other request does.
    assert httpx.options(f"{naming.api}/models", headers={"origin": NAMED}).status_code == 401
    assert httpx.options(f"{naming.api}/models", headers=wish).status_code == 401


def test_all_origins_are_named_by_a_star(tiny_chat: LLM) -> None:
    with running(create_app({TINY: tiny_chat}, ServerSettings(cors_origins=("*",)))) as server:
        for headers in ({"origin": EVIL, "sec_fetch_site": "cross-site"}, {"origin": "null"}):
            assert send(server, "POST", "/v1/cache/flush", **headers)[0] == 200


# -- hosts


@pytest.mark.parametrize("method", [*CHANGING[:4], *SAFE])
def test_two_hosts_or_none_are_refused_before_anything(naming: RunningServer, method: str) -> None:
    """Whoever is in front may have looked at the other one. Neither a key nor a preflight goes before it."""
    preflight = {"origin": NAMED, "access_control_request_method": "POST"}
    for host in ("127.0.0.1\r\nhost: 127.0.0.1", "127.0.0.1\r\nhost: evil.example", ""):
        for path in ("/health", "/v1/models", "/v1/messages", "/nowhere"):
            with connection(naming) as opened:
                opened.sendall(request_bytes(method, path, host=host, **preflight))
                response, content = read_answer(opened, method)
                assert response.status == 400, (host, path)
                assert method == "HEAD" or b"Host headers" in content


def test_http_1_0_needs_no_host(naming: RunningServer) -> None:
    with connection(naming) as opened:
        opened.sendall(b"GET /health HTTP/1.0\r\n\r\n")
        assert read_to_end(opened).startswith(b"HTTP/1.1 200 OK")


# -- in another's application


def test_a_mounted_server_is_a_stranger_to_pages_too(tiny_chat: LLM) -> None:
    settings = ServerSettings(keys=KeyRing([ApiKey.of("sk-user-00001")]))
    outer = FastAPI()
    inner = create_app({TINY: tiny_chat}, settings)
    outer.mount("/llm/here", inner)
    outer.state.server = inner.state.server
    with running(outer) as server:
        key = {"authorization": "Bearer sk-user-00001"}
        for path in ("/v1/cache/flush", "/v1/messages", "/nowhere"):
            status, content = send(server, "POST", f"/llm/here{path}", origin=EVIL, **key)
            assert status == 403, content
            assert ("request_id" in json.loads(content)) == (path == "/v1/messages")
        own = "http://127.0.0.1:{port}"
        assert send(server, "POST", "/llm/here/v1/cache/flush", origin=own, **key)[0] == 200
        assert send(server, "POST", "/llm/here/v1/cache/flush", origin=own)[0] == 401
        assert send(server, "GET", "/llm/here/health")[0] == 200
        assert send(server, "GET", "/llm/here/health", host="a\r\nhost: b")[0] == 400


async def test_no_socket_is_opened_past_the_checks(tiny_chat: LLM) -> None:
    """Not even by a route of that kind which somebody adds."""
    app = create_app({TINY: tiny_chat})
    reached = []

    @app.websocket("/live")
    async def live(_: Any) -> None:
        reached.append(1)

    sent: list[Any] = []

    async def receive() -> dict[str, str]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "websocket",
        "path": "/live",
        "headers": [(b"origin", EVIL.encode())],
        "query_string": b"",
    }
    await app({**scope, "subprotocols": [], "scheme": "ws", "root_path": "", "state": {}}, receive, send)
    assert [message["type"] for message in sent] == ["websocket.close"]
    assert not reached
