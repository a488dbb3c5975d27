"""Models fetched and deleted while the server runs: by the real pip, from an index of the test's own."""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import ollama
import pytest

import ruvllm.hub as hub
from ruvllm import LLM
from ruvllm.cli.served import check_is_fetched
from ruvllm.errors import IoError
from ruvllm.hub import Registry
from ruvllm.hub.progress import Report
from ruvllm.serve import ServedModel
from ruvllm.serve.pulling import ModelStore
from tests.hub.conftest import local_hub, publish, wheel_folder
from tests.hub.local_hub import LocalHub
from tests.hub.wheels import make_entry
from tests.serve.conftest import TINY
from tests.serve.managed import ADMIN, USER, Gate, Managed, managed
from tests.serve.process import wait_until

__all__ = ["local_hub", "publish", "wheel_folder"]

NEW = "brand-new"


class Store:
    """What `ruvllm serve` has, for a registry of one model; `hold` stops a fetch in its middle."""

    def __init__(self, path: Path, cache: Path) -> None:
        content = path.read_bytes()
        middle = len(content) // 2
        self.pieces = [content[:middle], content[middle:]]
        self.entry = make_entry(self.pieces, name=NEW)
        self.registry = Registry([replace(self.entry, aliases=())])
        self.cache = cache
        self.hold = threading.Event()
        self.hold.set()
        self.fetched = 0

    def check(self, name: str) -> None:
        check_is_fetched(name, self.registry)

    def fetch(self, name: str, report: Report) -> ServedModel:
        self.fetched += 1

        def held(done: int, total: int) -> None:
            report(done, total)
            if done >= len(self.pieces[0]):
                assert self.hold.wait(20)

        path = hub.pull(name, cache=self.cache, registry=self.registry, report=held)
        model = ServedModel(name, lambda: LLM(path))
        model.was_fetched = True
        return model

    def remove(self, name: str) -> object:
        return hub.remove(name, cache=self.cache, registry=self.registry)

    def made(self) -> ModelStore:
        return ModelStore(self.check, self.fetch, self.remove)


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


def test_a_server_that_ends_breaks_off(tiny_chat_path: Path, store: Store) -> None:
    store.hold.clear()
    threading.Timer(0.5, store.hold.set).start()
    with managed([Gate(tiny_chat_path).served()], store=store.made()) as server:
        wait_until(lambda: server.state()["value"] == "loaded")
        server.done("/models", model=NEW)
        wait_until(lambda: server.state(NEW)["progress"][NEW]["done"] > 0)
    assert not (store.cache / "models" / NEW / store.entry.file_name).exists()


def test_without_a_store_nothing_is_fetched(tiny_chat_path: Path) -> None:
    with managed([Gate(tiny_chat_path).served()]) as server:
        assert server.refused(501, "/models", model=NEW)["code"] == "not_offered"


def test_the_hub_s_share_is_told(local_hub: LocalHub, tmp_path: Path) -> None:
    data = b"GGUF" + bytes(100_000)
    local_hub.repos["org/repo"] = {"model-Q4_K_M.gguf": data, "README.md": b"x"}
    seen: list[tuple[int, int]] = []
    path = hub.pull("org/repo:Q4_K_M", report=lambda done, total: seen.append((done, total)))
    assert path.read_bytes() == data
    assert seen[0] == (0, len(data))
    assert seen[-1] == (len(data), len(data))
