"""Adapters within a budget: more names than there is room for, and no answer depends on which are ready."""

import json
import os
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from ruvllm import LLM, GenerateParams
from ruvllm.adapters import AdapterWeights, Part
from ruvllm.adapters.generation import HeldAdapters
from ruvllm.errors import AdapterError, ConfigError, OverloadedError
from tests.conftest import FIXTURES

MODEL = FIXTURES / "models" / "llama-gqa"
SOURCE = FIXTURES / "adapters" / "lora-all-r4" / "adapter"
PROMPT = [5, 17, 42, 9]
PARAMS = GenerateParams(max_tokens=6, temperature=0.0, repetition_penalty=1.0, ignore_eos=True)
NAMES = 40
KV_BYTES = 1024**2
PAGE_BYTES = 128 * 1024


def folder(tmp_path: Path, number: int) -> Path:
    """An adapter of its own: the same matrices, another scale."""
    target = tmp_path / f"{number}"
    shutil.copytree(SOURCE, target)
    config = json.loads((target / "adapter_config.json").read_text("utf-8"))
    config["lora_alpha"] = 4 + number
    (target / "adapter_config.json").write_text(json.dumps(config), "utf-8")
    return target


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("adapters")
    return [folder(root, number) for number in range(NAMES)]


@pytest.fixture
def llm(folders: list[Path]) -> Iterator[LLM]:
    """Room for a few of forty."""
    with LLM(MODEL, kv_cache_bytes=KV_BYTES, adapter_bytes=4 * PAGE_BYTES, threads=1) as llm:
        for number, path in enumerate(folders):
            llm.adapters.load(f"a{number}", path)
        yield llm


def answers(folders: list[Path]) -> list[tuple[int, ...]]:
    """With room for all."""
    with LLM(MODEL, threads=1) as llm:
        for number, path in enumerate(folders):
            llm.adapters.load(f"a{number}", path)
        return [llm.generate(PROMPT, PARAMS, adapter=f"a{number}").token_ids for number in range(NAMES)]


def test_answers_do_not_depend_on_what_is_ready(llm: LLM, folders: list[Path]) -> None:
    expected = answers(folders)
    memory = llm.adapters.memory()
    assert 0 < memory.ready < NAMES
    assert memory.used_bytes <= memory.max_bytes == 4 * PAGE_BYTES
    order = np.random.default_rng(3).zipf(1.3, 200) % NAMES
    with ThreadPoolExecutor(6) as threads:
        asked = [threads.submit(llm.generate, PROMPT, PARAMS, adapter=f"a{one}") for one in order]
        for one, answer in zip(order, asked, strict=True):
            assert answer.result().token_ids == expected[one]
    after = llm.adapters.memory()
    assert after.used_bytes <= after.max_bytes
    assert after.evicted > memory.evicted
    assert after.made < memory.made + len(order), "those asked for often stay"


def test_a_list_that_needs_more_than_there_is_room_for(llm: LLM, folders: list[Path]) -> None:
    given = llm.generate([PROMPT] * NAMES, PARAMS, adapter=[f"a{number}" for number in range(NAMES)])
    assert [one.token_ids for one in given] == answers(folders)


def test_keys_and_values_take_what_no_request_uses(folders: list[Path]) -> None:
    with LLM(MODEL, kv_cache_bytes=KV_BYTES, adapter_bytes=KV_BYTES - PAGE_BYTES, threads=1) as llm:
        for number, path in enumerate(folders):
            llm.adapters.load(f"a{number}", path)
        before = llm.adapters.memory()
        long = GenerateParams(max_tokens=1, temperature=0.0, ignore_eos=True)
        prompts = [[(7 * row + one) % 300 + 3 for one in range(200)] for row in range(400)]
        llm.generate(prompts, long)
        assert llm.adapters.memory().evicted > before.evicted


def test_what_a_request_uses_stays_and_another_waits(llm: LLM, monkeypatch: pytest.MonkeyPatch) -> None:
    one = llm.adapters.info("a0")
    names = [f"a{number}" for number in range(4 * PAGE_BYTES // one.num_bytes)]
    held = [HeldAdapters([llm.adapters.chosen(name)[0][0]]) for name in names]
    made = llm.adapters.memory().made
    for name in names:
        llm.generate(PROMPT, PARAMS, adapter=name)
        with pytest.raises(AdapterError, match="in use by 1 requests"):
            llm.adapters.unload(name, when_used="refuse")
    assert llm.adapters.memory().made == made
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(llm.generate, PROMPT, PARAMS, adapter="a39")
        unloading = threading.Timer(0.2, held[0].let_go)
        unloading.start()
        llm.adapters.unload("a0", when_used="wait", timeout=10)
        assert waiting.result().token_ids
    monkeypatch.setattr("ruvllm.adapters.generation.ROOM_SECONDS", 0.1)
    again = HeldAdapters([llm.adapters.chosen("a39")[0][0]])
    with pytest.raises(OverloadedError, match="raise adapter_bytes") as refused:
        llm.generate(PROMPT, PARAMS, adapter="a38")
    assert refused.value.retry_after_seconds
    with pytest.raises(AdapterError, match=r"after 0\.05 s 1 requests still use it"):
        llm.adapters.unload("a1", when_used="wait", timeout=0.05)
    for one_held in (*held, again):
        one_held.let_go()
    assert llm.generate(PROMPT, PARAMS, adapter="a38").token_ids


def test_requests_share_what_adapters_in_use_leave(folders: list[Path]) -> None:
    """What adapters hold is not counted as free: requests that wait for it would wait for each other."""
    prompts = [[(7 * row + one) % 300 + 3 for one in range(60)] for row in range(12)]
    params = GenerateParams(max_tokens=40, temperature=0.0, ignore_eos=True)
    with LLM(MODEL, threads=1) as llm:
        expected = [one.token_ids for one in llm.generate(prompts, params)]
    with LLM(MODEL, kv_cache_bytes=KV_BYTES, adapter_bytes=KV_BYTES - PAGE_BYTES, threads=1) as llm:
        for number, path in enumerate(folders):
            llm.adapters.load(f"a{number}", path)
        fitting = (KV_BYTES - PAGE_BYTES) // llm.adapters.info("a0").num_bytes
        held = [HeldAdapters([llm.adapters.chosen(f"a{one}")[0][0]]) for one in range(fitting - 1)]
        stats = llm.pool_stats()
        assert stats.adapter_pages == stats.total_pages - 1
        assert [one.token_ids for one in llm.generate(prompts, params)] == expected
        assert llm.memory_stats().kv_cached_bytes <= PAGE_BYTES
        for one_held in held:
            one_held.let_go()


def test_one_that_is_too_large_is_refused(llm: LLM) -> None:
    rank = 4 * PAGE_BYTES // 64
    part = Part(
        layer=0,
        module="o_proj",
        a=np.zeros((rank, 64), np.float32),
        b=np.zeros((64, rank), np.float32),
        scale=1.0,
    )
    with pytest.raises(AdapterError, match=r"raise adapter_bytes|maps"):
        llm.adapters.load("large", AdapterWeights(parts=(part,)))
    assert len(llm.adapters.list()) == NAMES


def test_a_request_whose_adapters_never_fit_together_is_refused_at_once(folders: list[Path]) -> None:
    with LLM(MODEL, kv_cache_bytes=KV_BYTES, adapter_bytes=PAGE_BYTES, threads=1) as llm:
        for number in range(3):
            one = llm.adapters.load(f"a{number}", folders[number])
        assert 2 * one.num_bytes < PAGE_BYTES < 3 * one.num_bytes
        assert llm.generate(PROMPT, PARAMS, adapter={"a0": 1.0, "a1": 0.5}).token_ids
        with pytest.raises(ConfigError, match="raise adapter_bytes"):
            llm.generate(PROMPT, PARAMS, adapter={"a0": 1.0, "a1": 0.5, "a2": 0.5})


def test_adapters_leave_requests_some_of_the_budget() -> None:
    with pytest.raises(ConfigError, match="adapter_bytes is 1048576"):
        LLM(MODEL, kv_cache_bytes=KV_BYTES, adapter_bytes=KV_BYTES, threads=1)


def test_a_pinned_one_is_always_ready(llm: LLM) -> None:
    llm.adapters.pin("a7")
    made = llm.adapters.memory().made
    for number in range(8, NAMES):
        llm.generate(PROMPT, PARAMS, adapter=f"a{number}")
    others = llm.adapters.memory().made
    assert others > made
    llm.generate(PROMPT, PARAMS, adapter="a7")
    assert llm.adapters.memory().made == others
    llm.adapters.pin("a7", pinned=False)
    for number in range(8, NAMES):
        llm.generate(PROMPT, PARAMS, adapter=f"a{number}")
    before = llm.adapters.memory().made
    llm.generate(PROMPT, PARAMS, adapter="a7")
    assert llm.adapters.memory().made == before + 1


def test_an_alias_stands_for_what_the_other_stood_for(llm: LLM, folders: list[Path]) -> None:
    llm.adapters.alias("other", "a1")
    first = llm.generate(PROMPT, PARAMS, adapter="a1").token_ids
    llm.adapters.replace("a1", folders[30])
    assert llm.generate(PROMPT, PARAMS, adapter="other").token_ids == first
    assert llm.adapters.info("other").generation != llm.adapters.info("a1").generation
    llm.adapters.unload("a1")
    assert llm.generate(PROMPT, PARAMS, adapter="other").token_ids == first
    with pytest.raises(AdapterError, match="loaded already"):
        llm.adapters.alias("a2", "other")


def evict(llm: LLM, name: str) -> None:
    """Ask for others until one is not ready."""
    for number in range(NAMES):
        if f"a{number}" != name:
            llm.generate(PROMPT, PARAMS, adapter=f"a{number}")


def test_a_folder_that_was_touched_is_read_and_one_that_was_changed_is_refused(
    tmp_path: Path, llm: LLM
) -> None:
    own = folder(tmp_path, 99)
    llm.adapters.load("own", own)
    expected = llm.generate(PROMPT, PARAMS, adapter="own").token_ids
    evict(llm, "own")
    os.utime(own / "adapter_config.json")
    assert llm.generate(PROMPT, PARAMS, adapter="own").token_ids == expected
    evict(llm, "own")
    config = own / "adapter_config.json"
    config.write_text(config.read_text("utf-8").replace('"lora_alpha": 103', '"lora_alpha": 104'), "utf-8")
    with pytest.raises(AdapterError, match="not any more what was loaded"):
        llm.generate(PROMPT, PARAMS, adapter="own")
    shutil.rmtree(own)
    with pytest.raises(AdapterError, match="no folder"):
        llm.generate(PROMPT, PARAMS, adapter="own")
    assert llm.generate(PROMPT, PARAMS, adapter="a0").token_ids
    assert llm.adapters.replace("own", SOURCE).generation
    assert llm.generate(PROMPT, PARAMS, adapter="own").token_ids


def test_who_keeps_an_answer_keeps_no_adapter(llm: LLM) -> None:
    stream = llm.stream(PROMPT, PARAMS, adapter="a3")
    assert list(stream)
    llm.adapters.unload("a3", when_used="refuse")
