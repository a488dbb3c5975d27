"""What the ingress asks of a request, before its body and after; without a cluster."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from ruvllm.integrations.ray.call import Call
from ruvllm.integrations.ray.settings import RaySettings
from ruvllm.integrations.ray.shares import Shares

# Ray's own code is warned of by what it stands on.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

CHAT = "/v1/chat/completions"


class Workers:
    """What stands for a handle of Serve's: it keeps what it is given, and answers or raises."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.error: Exception | None = None
        self.holds: asyncio.Event | None = None

    def options(self, **_: object) -> "Workers":
        return self

    def remote(self, call: Call) -> Any:
        self.calls.append(call)
        return Answer(self)


class Answer:
    def __init__(self, workers: Workers) -> None:
        self._workers = workers

    async def __aiter__(self) -> Any:
        if self._workers.error is not None:
            raise self._workers.error
        if self._workers.holds is not None:
            await self._workers.holds.wait()
        yield [{"type": "http.response.start", "status": 200, "headers": []}, {"type": "http.response.body"}]

    def cancel(self) -> None:
        pass


class Asked:
    """One request to an ingress, and how much of its body was read."""

    def __init__(self, ingress: Any, *pieces: bytes, path: str = CHAT, leaves: bool = False, **headers: str):
        self.read = 0
        self.sent: list[Any] = []
        self._pieces = list(pieces) or [b"{}"]
        self._leaves = leaves
        given = {"host": "localhost", **headers}
        self._scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "http_version": "1.1",
            "headers": [(name.replace("_", "-").encode(), text.encode()) for name, text in given.items()],
        }
        self._application = ingress.__serve_build_asgi_app__()

    async def answer(self) -> int:
        await self._application(self._scope, self._receive, self._send)
        return int(self.sent[0]["status"]) if self.sent else 0

    def header(self, name: str) -> str | None:
        return {key.decode(): text.decode() for key, text in self.sent[0]["headers"]}.get(name)

    async def _receive(self) -> dict[str, Any]:
        if self._leaves and not self._pieces:
            return {"type": "http.disconnect"}
        self.read += 1
        body = self._pieces.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(self._pieces) or self._leaves}

    async def _send(self, message: Any) -> None:
        self.sent.append(message)


def ingress_of(workers: Workers, shares: Shares | None = None, **settings: Any) -> Any:
    pytest.importorskip("ray.serve")
    from ruvllm.integrations.ray.ingress import Ingress

    return Ingress(workers, RaySettings(**settings).of_a_worker(), shares or Shares(256, 1))  # type: ignore[arg-type]


async def test_nothing_is_read_of_what_is_not_let_in(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("sk-a-tenant tenant=a\n")
    workers = Workers()
    ingress = ingress_of(workers, api_key_file=keys, server={"max_body_bytes": 1000})
    key = {"authorization": "Bearer sk-a-tenant"}
    for status, headers in (
        (401, {}),
        (401, {"authorization": "Bearer other"}),
        (403, {**key, "origin": "https://evil.example"}),
    ):
        asked = Asked(ingress, b"x" * 100, **headers)
        assert (await asked.answer(), asked.read) == (status, 0)
    large = Asked(ingress, b"x" * 100, b"x" * 100, content_length="1001", **key)
    assert await large.answer() == 413
    undeclared = Asked(ingress, *[b"x" * 400] * 4, **key)
    # The rest is read, since a client that still sends would not see why.
    assert (await undeclared.answer(), undeclared.read) == (413, 4)
    assert workers.calls == []
    assert await Asked(ingress, b"{}", **key).answer() == 200
    assert [call.keys.tenant for call in workers.calls] == ["a"]


async def test_a_page_whose_name_points_here_is_refused() -> None:
    assert await Asked(ingress_of(Workers()), host="evil.example").answer() == 403
    named = ingress_of(Workers(), server={"allowed_hosts": ["models.example"]})
    assert await Asked(named, host="models.example:8000").answer() == 200


async def test_what_a_client_has_not_sent_whole_is_not_passed_on() -> None:
    workers = Workers()
    assert await Asked(ingress_of(workers), b'{"messages":', leaves=True).answer() == 0
    assert workers.calls == []


async def test_a_tenant_that_teaches_has_its_share() -> None:
    workers = Workers()
    workers.holds = asyncio.Event()
    ingress = ingress_of(workers, Shares(8, 1), server={"learn": True})
    running = asyncio.create_task(Asked(ingress).answer())
    while not workers.calls:
        await asyncio.sleep(0)
    refused = Asked(ingress)
    assert await refused.answer() == 429
    assert refused.header("retry-after") == "1"
    health = asyncio.create_task(Asked(ingress, path="/health").answer())
    workers.holds.set()
    assert [await running, await health] == [200, 200]


@pytest.mark.parametrize(
    ("path", "retry_after", "should_retry"), [(CHAT, "1", None), ("/v1/feedback", None, "false")]
)
async def test_what_may_have_changed_something_is_not_to_be_asked_again(
    path: str, retry_after: str | None, should_retry: str | None
) -> None:
    exceptions = pytest.importorskip("ray.exceptions")
    workers = Workers()
    for workers.error in (
        exceptions.ActorDiedError(),
        exceptions.WorkerCrashedError(),
        exceptions.OutOfMemoryError("much"),
    ):
        asked = Asked(ingress_of(workers), path=path)
        assert await asked.answer() == 503
        assert (asked.header("retry-after"), asked.header("x-should-retry")) == (retry_after, should_retry)


async def test_the_deep_loop_is_refused() -> None:
    ingress = ingress_of(Workers(), server={"learn": True})
    assert await Asked(ingress, path="/v1/feedback/train").answer() == 409
