"""A server with more adapters than there is room for, and one that is started again."""

import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from ruvllm import LLM, GenerateParams
from ruvllm.adapters import generation
from tests.conftest import FIXTURES
from tests.serve.adapters import FIRST, SECOND, USER, adapter_server, folder, post
from tests.serve.conftest import TINY
from tests.serve.process import serving
from tests.serve.running import RunningServer

NAMES = [f"a{number}" for number in range(12)]
PROMPT = "the cat sat on"
FIELDS = {"prompt": PROMPT, "max_tokens": 6, "temperature": 0, "ignore_eos": True}
GREEDY = GenerateParams(max_tokens=6, temperature=0.0, repetition_penalty=1.0, ignore_eos=True)


@pytest.fixture(scope="module")
def llm(tiny_chat_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LLM]:
    """Room for two or three."""
    root = tmp_path_factory.mktemp("adapters")
    with LLM(tiny_chat_path, kv_cache_bytes=1024**2, adapter_bytes=128 * 1024) as llm:
        for number, name in enumerate(NAMES):
            own = shutil.copytree(folder(FIRST), root / name)
            config = json.loads((own / "adapter_config.json").read_text("utf-8"))
            config["lora_alpha"] = 4 + number
            (own / "adapter_config.json").write_text(json.dumps(config), "utf-8")
            llm.adapters.load(name, own)
        yield llm


@pytest.fixture
def server(llm: LLM) -> Iterator[RunningServer]:
    with adapter_server(llm) as server:
        yield server


def test_each_is_answered_with_its_own(server: RunningServer, llm: LLM) -> None:
    assert llm.adapters.memory().ready < len(NAMES)
    expected = {name: llm.generate(PROMPT, GREEDY, adapter=name).text for name in NAMES}

    def text(name: str) -> str:
        answer = post(server, "/v1/completions", USER, model=name, **FIELDS)
        assert answer.status_code == 200, answer.text
        return answer.json()["choices"][0]["text"]

    with ThreadPoolExecutor(8) as threads:
        for name, given in zip(NAMES * 3, threads.map(text, NAMES * 3), strict=True):
            assert given == expected[name]
    memory = llm.adapters.memory()
    assert memory.used_bytes <= memory.max_bytes


def test_where_requests_hold_all_the_room(
    server: RunningServer, llm: LLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generation, "ROOM_SECONDS", 0.2)
    count = llm.adapters.memory().max_bytes // llm.adapters.info("a0").num_bytes
    assert 1 <= count < len(NAMES)
    held = {name: llm.adapters.chosen(name)[0][0].ready() for name in NAMES[:count]}
    for name in held:
        assert post(server, "/v1/completions", USER, model=name, **FIELDS).status_code == 200
    for path, fields in (("/v1/completions", FIELDS), ("/v1/embeddings", {"input": PROMPT})):
        refused = post(server, path, USER, model=NAMES[-1], **fields)
        assert refused.status_code == 429, refused.text
        assert refused.headers["retry-after"] == "5"
        assert "adapter_bytes" in refused.json()["error"]["message"]
    assert post(server, "/v1/completions", USER, model=TINY, **FIELDS).status_code == 200
    held.clear()
    assert post(server, "/v1/completions", USER, model=NAMES[-1], **FIELDS).status_code == 200


def test_a_start_has_the_adapters_of_the_end(tiny_chat_path: Path, tmp_path: Path) -> None:
    arguments = ("--adapter-list-dir", tmp_path, "--adapter-dir", FIXTURES / "adapters")
    with serving(tiny_chat_path, *arguments) as server:
        url = server.wait_until_ready().url
        for name, one in (("first", FIRST), ("second", SECOND)):
            body = {"lora_name": name, "lora_path": str(folder(one))}
            assert httpx.post(f"{url}/v1/load_lora_adapter", json=body).status_code == 200
        assert httpx.post(f"{url}/v1/unload_lora_adapter", json={"lora_name": "second"}).status_code == 200
        before = httpx.get(f"{url}/v1/lora_adapters").json()
    with serving(tiny_chat_path, *arguments) as server:
        url = server.wait_until_ready().url
        assert httpx.get(f"{url}/v1/lora_adapters").json() == before
        assert [one["name"] for one in before["data"]] == ["first"]
