"""Exported adapters as `peft` reads them: what it computed with each was recorded by `make_exported.py`."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ruvllm import LLM
from tests.adapters.exported import ADAPTERS, EXPORTED, given, written
from tests.conftest import FIXTURES

TOLERANCE = 1e-3


@pytest.fixture(scope="module")
def llm() -> Iterator[LLM]:
    with LLM(FIXTURES / "models" / "llama-gqa", activations="f32", kv_format="f32") as llm:
        yield llm


@pytest.mark.parametrize("name", EXPORTED)
def test_peft_computes_with_an_export_what_is_computed_here(llm: LLM, tmp_path: Path, name: str) -> None:
    recorded = np.load(ADAPTERS / "exported" / f"{name}.npz")
    folder = written(name, tmp_path / "first")
    assert given(folder) == recorded["given"], "it is not what was recorded: run make_exported.py"
    llm.adapters.load(name, folder)
    logits = llm.logits(recorded["input_ids"], adapter=name)
    assert np.abs(logits - recorded["logits"]).max() < TOLERANCE
    assert np.abs(logits - llm.logits(recorded["input_ids"])).max() > 1
    # And what is exported of that is the same once more, but for its scales, which stand in B already.
    again = llm.adapters.export(name, tmp_path / "second")
    assert given(again) == given(folder)
    llm.adapters.unload(name)


def test_what_was_read_is_computed_with_as_before_it_was_exported() -> None:
    """The scale went into B, and nothing else has changed."""
    recorded = np.load(ADAPTERS / "exported" / "as-read.npz")
    original = np.load(ADAPTERS / "lora-all-r4" / "expected.npz")
    assert np.array_equal(recorded["input_ids"], original["input_ids"])
    assert np.abs(recorded["logits"] - original["lora_logits"]).max() < 1e-4
