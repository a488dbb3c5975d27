"""The list of adapters on disk: a restart has the same, or says why not."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ruvllm import LLM
from ruvllm.adapters.peft_folder import read_peft
from ruvllm.errors import AdapterError
from tests.conftest import FIXTURES

MODEL = FIXTURES / "models" / "llama-gqa"
ADAPTERS = FIXTURES / "adapters"


@pytest.fixture
def own(tmp_path: Path) -> Path:
    return shutil.copytree(ADAPTERS / "lora-all-r4" / "adapter", tmp_path / "own")


def test_a_restart_has_the_same(tmp_path: Path, own: Path) -> None:
    file = tmp_path / "adapters.json"
    with LLM(MODEL, threads=1) as llm:
        llm.adapters.load("before", own)
        llm.adapters.keep_list(file)
        llm.adapters.load("later", ADAPTERS / "lora-rs-r8" / "adapter")
        llm.adapters.load("gone", own)
        llm.adapters.replace("before", ADAPTERS / "lora-rs-r8" / "adapter")
        llm.adapters.alias("other", "later")
        llm.adapters.unload("gone")
        expected = llm.adapters.list()
    with LLM(MODEL, threads=1) as llm:
        llm.adapters.keep_list(file)
        assert llm.adapters.list() == expected
        llm.adapters.unload("later")
    with LLM(MODEL, threads=1) as llm:
        llm.adapters.keep_list(file)
        assert [one.name for one in llm.adapters.list()] == ["before", "other"]


def test_what_came_from_memory_is_not_on_it(tmp_path: Path, own: Path) -> None:
    file = tmp_path / "adapters.json"
    with LLM(MODEL, threads=1) as llm:
        llm.adapters.keep_list(file)
        llm.adapters.load("a", own)
        llm.adapters.merge("b", {"a": 0.5})
        assert list(json.loads(file.read_text("utf-8"))["adapters"]) == ["a"]


def changed(folder: Path) -> None:
    config = folder / "adapter_config.json"
    config.write_text(config.read_text("utf-8").replace('"lora_alpha": 8', '"lora_alpha": 9'), "utf-8")


@pytest.mark.parametrize("happens", [changed, shutil.rmtree], ids=["changed", "gone"])
def test_one_that_is_not_what_it_was_ends_it(
    tmp_path: Path, own: Path, happens: Callable[[Path], None]
) -> None:
    file = tmp_path / "adapters.json"
    with LLM(MODEL, threads=1) as llm:
        llm.adapters.keep_list(file)
        llm.adapters.load("first", ADAPTERS / "lora-rs-r8" / "adapter")
        llm.adapters.load("own", own)
    content = file.read_bytes()
    before = read_peft(own)
    happens(own)
    assert not own.exists() or read_peft(own).parts[0].scale != before.parts[0].scale
    with LLM(MODEL, threads=1) as llm:
        with pytest.raises(AdapterError, match="own"):
            llm.adapters.keep_list(file)
        assert llm.adapters.list() == []
    assert file.read_bytes() == content


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{", '{"format": 2}', '{"format": 1, "adapters": 3}', '{"format": 1, "adapters": {"a": {}}}'],
)
def test_what_is_no_list_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "adapters.json"
    file.write_text(content, "utf-8")
    with LLM(MODEL, threads=1) as llm, pytest.raises(AdapterError, match="no list of adapters"):
        llm.adapters.keep_list(file)
