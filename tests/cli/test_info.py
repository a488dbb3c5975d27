"""`ruvllm info` and `ruvllm show`: what the head of a model's files says, with the real engine's reader."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from gguf import GGUFReader

import ruvllm._native as real_native
from ruvllm.cli.info import _weight_types
from tests.cli.fake_engine import FakeLLM
from tests.conftest import FIXTURES

Ruvllm = Callable[..., Any]
TINY = FIXTURES / "gguf" / "llama-gqa.gguf"


@pytest.fixture(autouse=True)
def real_engine(clean: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The extension itself, of which the commands' stand-in has no models."""
    monkeypatch.setitem(sys.modules, "ruvllm._native", real_native)


def test_it_says_what_another_reader_says(ruvllm: Ruvllm) -> None:
    reader = GGUFReader(TINY)

    def value(name: str) -> Any:
        field = reader.get_field(f"llama.{name}")
        assert field is not None
        return field.contents()

    facts = json.loads(ruvllm("info", str(TINY), "--json").stdout)
    assert facts["architecture"] == "llama"
    assert facts["num_parameters"] == sum(int(tensor.n_elements) for tensor in reader.tensors)
    assert facts["weight_types"] == {"F32": 1.0}
    assert (facts["path"], facts["file_bytes"]) == (str(TINY), TINY.stat().st_size)
    assert {name: facts[name] for name in ("num_layers", "hidden_size", "num_heads", "num_kv_heads")} == {
        "num_layers": value("block_count"),
        "hidden_size": value("embedding_length"),
        "num_heads": value("attention.head_count"),
        "num_kv_heads": value("attention.head_count_kv"),
    }
    assert facts["model_max_context"] == value("context_length")


def test_both_names_say_the_same_for_people_and_programs(ruvllm: Ruvllm) -> None:
    for flags in ([], ["--json"]):
        assert ruvllm("show", str(TINY), *flags).stdout == ruvllm("info", str(TINY), *flags).stdout != ""
    lines = dict(line.rstrip().split("  ", 1) for line in ruvllm("show", str(TINY)).stdout.splitlines())
    assert lines["weight types"].strip() == "F32 100%"


def test_the_mixture_is_what_the_file_is_called(ruvllm: Ruvllm, tmp_path: Path) -> None:
    """Fault 11: of a Q4_K_M it said Q5_0, the type of most weights."""
    named = tmp_path / "some-Q4_K_M.gguf"
    shutil.copy(TINY, named)
    facts = json.loads(ruvllm("info", str(named), "--json").stdout)
    assert (facts["quantization"], facts["weight_types"]) == ("Q4_K_M", {"F32": 1.0})
    assert json.loads(ruvllm("info", str(TINY), "--json").stdout)["quantization"] == "F32"


def test_nothing_is_loaded_or_fetched(ruvllm: Ruvllm) -> None:
    """Fault 11: it packed everything to say so."""
    assert ruvllm("info", str(TINY)).exit_code == 0
    assert FakeLLM.opened == []
    told = ruvllm("info", "smollm2-135m")
    assert told.exit_code == 1
    assert "`ruvllm pull smollm2-135m` fetches it" in told.stderr


@pytest.mark.parametrize("with_empty", [True, False])
def test_a_file_without_weights(*, with_empty: bool) -> None:
    """A head says which tensors there are, and may say so of none."""
    tensors = [("a", "F32", [0, 4])] if with_empty else []
    header = SimpleNamespace(tensors=lambda: tensors)
    assert _weight_types(header) == ({"F32": 0.0} if with_empty else {})  # type: ignore[arg-type]
