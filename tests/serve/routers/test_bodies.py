"""What routers write into bodies changes no answer; the bodies are recorded, so that no router is needed."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.serve.routers.reading import content_of
from tests.serve.routers.record import RECORDED
from tests.serve.running import RunningServer


def recorded() -> Iterator[Any]:
    for router, entries in json.loads(RECORDED.read_text(encoding="utf-8")).items():
        for number, entry in enumerate(entries):
            yield pytest.param(entry, id=f"{router}-{number}{entry['path'].replace('/', '-')}")


def unknown_fields(server: RunningServer) -> float:
    lines = httpx.get(f"{server.url}/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("ruvllm:unknown_fields_total"))


@pytest.mark.parametrize("entry", list(recorded()))
def test_what_a_router_writes_changes_no_answer(tiny_server: RunningServer, entry: dict[str, Any]) -> None:
    before = unknown_fields(tiny_server)
    written = httpx.post(tiny_server.url + entry["path"], json=entry["written"], timeout=20)
    assert written.status_code == 200, (entry["written"], written.text)
    assert unknown_fields(tiny_server) == before, entry["written"]
    sent = httpx.post(tiny_server.url + entry["path"], json=entry["sent"], timeout=20)
    assert content_of(entry["path"], written) == content_of(entry["path"], sent)
