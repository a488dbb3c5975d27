"""Models fetched and deleted while the server runs: by the real pip, from an index of the test's own."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import ollama
import pytest

import ruvllm.hub as hub
import ruvllm.hub.arrival as arrival
from ruvllm.errors import IoError
from ruvllm.hub.arrival import ComingFile, reported
from ruvllm.serve import pulling
from tests.hub.conftest import local_hub, publish, wheel_folder
from tests.hub.local_hub import LocalHub
from tests.serve.conftest import TINY
from tests.serve.managed import ADMIN, USER, Gate, Managed, managed
from tests.serve.model_store import NEW, Store
from tests.serve.process import wait_until

__all__ = ["local_hub", "publish", "wheel_folder"]


@pytest.fixture
def store(tiny_chat_path: Path, tmp_path: Path, publish: Any) -> Store:
    store = Store(tiny_chat_path, tmp_path / "cache")
    publish(store.entry, store.pieces)
    return store


@pytest.fixture
def server(tiny_chat_path: Path, store: Store) -> Iterator[Managed]:
    with managed([Gate(tiny_chat_path).served()], store=store.made()) as server:
        wait_until(lambda: server.state()["value"] == "loaded")
        try:
            yield server
        finally:
            store.hold.set()


def listed(server: Managed) -> list[str]:
    return [one["id"] for one in server.ask("GET", "/v1/models", USER).json()["data"]]


def test_a_model_is_fetched_served_and_deleted(server: Managed, store: Store) -> None:
    assert server.refused(404, "/v1/completions", model=NEW, prompt="a")["code"] == "model_not_found"
    store.hold.clear()
    assert server.done("/models", model=NEW)["status"]["value"] == "downloading"
    total = store.entry.size_bytes

    def done() -> int:
        count: int = server.state(NEW)["progress"][NEW]["done"]
        return count

    wait_until(lambda: done() >= len(store.pieces[0]))
    assert server.state(NEW)["progress"][NEW] == {"done": done(), "total": total}
    # Nobody waits for it, and who asks for it once more gets the same.
    assert server.says()
    assert server.done("/models", model=NEW)["success"]
    store.hold.set()
    wait_until(lambda: server.state(NEW) == {"value": "unloaded"})
    assert store.fetched == 1
    assert server.says(model=NEW) == server.says(), "it is the same file under another name"
    file = store.cache / "models" / NEW / store.entry.file_name
    assert file.exists()
    assert server.ask("DELETE", f"/models?model={NEW}").json() == {"success": True}
    assert listed(server) == [TINY]
    assert not file.exists()
    assert server.says()


def test_who_listens_is_told(server: Managed) -> None:
    seen: list[dict[str, Any]] = []
    with httpx.stream(
        "GET", f"{server.url}/models/sse", headers={"authorization": f"Bearer {USER}"}, timeout=30
    ) as stream:
        for line in stream.iter_lines():
            if not line.startswith("data: "):
                continue
            event = json.loads(line.removeprefix("data: "))
            if event["model"] == TINY:
                server.done("/models", model=NEW)
                continue
            seen.append(event)
            if event["event"] == "model_status":
                assert event["data"] == {"status": "unloaded"}
                server.ask("DELETE", f"/models?model={NEW}")
            if event["event"] == "model_remove":
                break
    names = [one["event"] for one in seen]
    assert [name for name in names if name != "download_progress"] == [
        "download_finished",
        "model_status",
        "model_remove",
    ]
    # A file so small may be here before anybody has looked.
    for one in seen[: names.index("download_finished")]:
        assert set(one["data"][NEW]) == {"done", "total"}


def test_ollama_s_clients_fetch_and_delete(server: Managed, store: Store) -> None:
    with ollama.Client(host=server.url, headers={"authorization": f"Bearer {ADMIN}"}) as client:
        pieces = list(client.pull(NEW, stream=True))
        assert (pieces[0].status, pieces[-1].status) == ("pulling manifest", "success")
        told = [(one.completed, one.total) for one in pieces if one.total]
        assert told == sorted(told)
        assert client.generate(NEW, "a", options={"num_predict": 1}).done
        assert client.delete(NEW).status == "success"
        assert listed(server) == [TINY]
        assert client.pull(NEW).status == "success"
        assert listed(server) == [TINY, NEW]
        # What the server was started with is not a client's to delete.
        with pytest.raises(ollama.ResponseError) as refused:
            client.delete(TINY)
        assert refused.value.status_code == 409
        assert listed(server) == [TINY, NEW]


def test_one_that_requests_use_is_not_deleted(server: Managed) -> None:
    server.done("/api/pull", model=NEW, stream=False)
    [served] = [one for one in server.server.app.state.server.models if one.name == NEW]
    with served.uses.one():
        import ruvllm.serve.model_management as management

        waits, management.UNLOAD_WAIT_SECONDS = management.UNLOAD_WAIT_SECONDS, 0.1
        try:
            answer = server.ask("DELETE", f"/models?model={NEW}")
        finally:
            management.UNLOAD_WAIT_SECONDS = waits
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "model_in_use")
        assert listed(server) == [TINY, NEW]


def test_a_fetch_that_fails_says_why_and_may_be_tried_again(
    server: Managed, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    pull = hub.pull

    def fails(*arguments: Any, **rest: Any) -> Path:
        raise IoError("the disk of /srv/secret/models is full")

    monkeypatch.setattr(hub, "pull", fails)
    server.done("/models", model=NEW)
    wait_until(lambda: server.state(NEW).get("failed") is True)
    reason = server.state(NEW)["reason"]
    assert "is full" in reason
    assert "secret" not in reason
    assert "is full" in server.post("/api/pull", model=NEW).text.splitlines()[-1]
    assert server.post("/api/pull", model=NEW, stream=False).status_code == 502
    assert server.says()
    monkeypatch.setattr(hub, "pull", pull)
    server.done("/api/pull", model=NEW, stream=False)
    assert server.state(NEW) == {"value": "unloaded"}


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "/etc/no", "no-such-model", "https://evil.example/a/b", "a b"]
)
def test_what_is_no_model_to_fetch_is_refused_at_once(server: Managed, name: str) -> None:
    answer = server.post("/models", model=name)
    assert answer.status_code in (400, 404)
    assert answer.json()["error"]["param"] == "model"
    if name == "/etc/passwd":
        assert "a path is not fetched: give the name of a model" in answer.json()["error"]["message"]
    assert listed(server) == [TINY]


def fetch_half(server: Managed, store: Store) -> None:
    """Begin to fetch a model, and wait until half of it is here, where it stays."""
    store.hold.clear()
    server.done("/models", model=NEW)
    wait_until(lambda: server.state(NEW)["progress"][NEW]["done"] >= len(store.pieces[0]))


def let_end() -> None:
    """Wait until no thread fetches it any more."""
    wait_until(lambda: all(one.name != f"fetch {NEW}" for one in threading.enumerate()))


def test_one_on_its_way_is_stopped_and_fetched_anew(server: Managed, store: Store) -> None:
    fetch_half(server, store)
    heard = server.ask("GET", "/v1/models", USER).json()["data"][-1]
    assert (heard["id"], heard["is_here"]) == (NEW, False)
    assert server.ask("DELETE", f"/models?model={NEW}", USER).status_code == 403
    assert server.state(NEW)["value"] == "downloading"
    assert server.ask("DELETE", f"/models?model={NEW}").json() == {"success": True}
    assert listed(server) == [TINY]
    # Its thread still runs, and a second of the name would only wait beside it.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pulling, "END_SECONDS", 0.1)
        refused = server.refused(409, "/models", model=NEW)
    assert (refused["code"], store.fetched) == ("download_ending", 1)
    assert listed(server) == [TINY]
    store.hold.set()
    let_end()
    # What came of the first is not served; who asks anew gets it from where the first had come to.
    server.done("/api/pull", model=NEW, stream=False)
    assert store.fetched == 2
    assert server.says(model=NEW) == server.says()
    # What is here is not fetched once more.
    assert server.done("/models", model=NEW)["status"]["value"] == "loaded"
    assert server.done("/models", model=f"{TINY}:latest")["model"] == TINY
    assert server.done("/api/pull", model=NEW, stream=False) == {"status": "success"}
    assert server.post("/api/pull", model=NEW).text.splitlines()[-1] == '{"status":"success"}'
    assert store.fetched == 2


def test_ollama_s_clients_stop_one_by_its_whole_name(server: Managed, store: Store) -> None:
    fetch_half(server, store)
    with ollama.Client(host=server.url, headers={"authorization": f"Bearer {ADMIN}"}) as client:
        assert client.delete(f"{NEW}:latest").status == "success"
        assert listed(server) == [TINY]
        with pytest.raises(ollama.ResponseError) as refused:
            client.delete(NEW)
        assert refused.value.status_code == 404


def test_who_waits_for_one_that_is_stopped_is_told(server: Managed, store: Store) -> None:
    fetch_half(server, store)
    headers = {"authorization": f"Bearer {ADMIN}"}
    listening = httpx.stream("GET", f"{server.url}/models/sse", headers=headers, timeout=30)
    pulling = httpx.stream("POST", f"{server.url}/api/pull", headers=headers, json={"model": NEW}, timeout=30)
    with listening as told, pulling as waits:
        assert server.ask("DELETE", f"/models?model={NEW}").status_code == 200
        events = (json.loads(line[6:]) for line in told.iter_lines() if line.startswith("data: "))
        failed = next(one for one in events if one["event"] == "download_failed")
        assert failed == {"model": NEW, "event": "download_failed", "data": {"reason": "it was stopped"}}
        assert "was stopped" in list(waits.iter_lines())[-1]


def test_one_that_could_not_be_fetched_is_forgotten(server: Managed, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: Any, **rest: Any) -> Path:
        raise IoError("the disk is full")

    monkeypatch.setattr(hub, "pull", fails)
    server.done("/models", model=NEW)
    wait_until(lambda: server.state(NEW).get("failed") is True)
    assert server.ask("DELETE", f"/models?model={NEW}").json() == {"success": True}
    assert listed(server) == [TINY]
    assert server.ask("DELETE", f"/models?model={NEW}").status_code == 404


def test_who_breaks_off_a_fetch_of_the_hub_is_heard_at_its_end(tmp_path: Path) -> None:
    told: list[int] = []
    broken_off = threading.Event()

    def report(done: int, total: int) -> None:
        told.append(done)
        if len(told) > 1:
            broken_off.set()
            raise ValueError

    with pytest.raises(ValueError), reported(tmp_path, [ComingFile("abc", 4)], report):  # noqa: PT011
        assert broken_off.wait(20)
    assert told == [0, 0, 4], "it looks no more once it is broken off"


def test_files_that_cannot_be_looked_at_are_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: object) -> int:
        raise RuntimeError("no look")

    monkeypatch.setattr(arrival, "_num_bytes", fails)
    with reported(tmp_path, [ComingFile("abc", 4)], lambda done, total: None):
        wait_until(lambda: "told no more" in caplog.text)
    assert "no look" in caplog.text


def test_a_server_that_ends_breaks_off(tiny_chat_path: Path, store: Store) -> None:
    store.hold.clear()
    threading.Timer(0.5, store.hold.set).start()
    with managed([Gate(tiny_chat_path).served()], store=store.made()) as server:
        wait_until(lambda: server.state()["value"] == "loaded")
        server.done("/models", model=NEW)
        wait_until(lambda: server.state(NEW)["progress"][NEW]["done"] > 0)
    assert not (store.cache / "models" / NEW / store.entry.file_name).exists()


def management(server: Managed, key: str) -> dict[str, Any]:
    told: dict[str, Any] = server.ask("GET", "/props", key).json()["model_management"]
    return told


def test_a_key_is_told_what_it_may_not(server: Managed) -> None:
    may = {"refused": None, "fetching_refused": None, "has_admin_key": True}
    assert management(server, ADMIN) == may
    said = server.refused(403, "/models/load", USER, model=TINY)["message"]
    assert management(server, USER) == {**may, "refused": said}


def test_without_a_store_nothing_is_fetched(tiny_chat_path: Path) -> None:
    with managed([Gate(tiny_chat_path).served()]) as server:
        refused = server.refused(501, "/models", model=NEW)
        assert refused["code"] == "not_offered"
        told = management(server, ADMIN)
        assert (told["refused"], told["fetching_refused"]) == (None, refused["message"])


def test_the_hub_s_share_is_told(local_hub: LocalHub, tmp_path: Path) -> None:
    data = b"GGUF" + bytes(100_000)
    local_hub.repos["org/repo"] = {"model-Q4_K_M.gguf": data, "README.md": b"x"}
    seen: list[tuple[int, int]] = []
    path = hub.pull("org/repo:Q4_K_M", report=lambda done, total: seen.append((done, total)))
    assert path.read_bytes() == data
    assert seen[0] == (0, len(data))
    assert seen[-1] == (len(data), len(data))
