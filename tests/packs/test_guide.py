"""The page's own kernel, built, signed and run as docs/kernel-packs.md says."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from ruvllm.llm import LLM
from ruvllm.packs import KernelPack, KernelRuntime
from ruvllm.params import GenerateParams
from tests.architecture import sources
from tests.conftest import FIXTURES
from tests.packs.guide import PAGE, block, build_pack
from tests.packs.pack_copies import TRUSTED

TINY = FIXTURES / "gguf" / "llama-gqa.gguf"


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_pack(tmp_path_factory.mktemp("guide"))


def test_it_is_believed(pack: Path) -> None:
    verified = KernelPack.verify(pack, [TRUSTED])
    assert (verified.name, verified.kernels) == ("my-pack", ("rmsnorm_f32",))


def test_it_computes(pack: Path) -> None:
    runtime = KernelRuntime(pack, trusted_keys=[TRUSTED])
    rng = np.random.default_rng(0)
    for columns in (1, 31, 32, 33, 576):
        x, weight = rng.standard_normal((3, columns), np.float32), rng.standard_normal(columns, np.float32)
        wide = x.astype(np.float64)
        expected = wide / np.sqrt((wide**2).mean(-1, keepdims=True) + 1e-6) * (weight + 0.5)
        actual = runtime.rms_norm(x, weight, weight_offset=0.5)
        np.testing.assert_allclose(actual, expected, rtol=2e-6, atol=2e-6)


def test_it_runs_in_the_forward_pass(pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUVLLM_HOME", str(tmp_path))
    monkeypatch.setenv("RUVLLM_TRUSTED_KEYS", TRUSTED)
    params = GenerateParams(temperature=0.0, repetition_penalty=1.0, max_tokens=4, ignore_eos=True)
    with LLM(TINY, kernel_pack=pack) as llm:
        llm.generate([1, 2, 3], params)
        stats = llm.stats().kernel_pack
    assert stats is not None
    assert stats.calls["rmsnorm"] > 0
    assert stats.calls["rope"] == stats.calls["swiglu"] == 0
    assert stats.native_calls["rope"] > 0
    assert stats.fallbacks == {}


def test_every_reason_of_a_refusal_stands_in_the_page() -> None:
    source = (sources.RUST / "packs" / "src" / "error.rs").read_text(encoding="utf-8")
    variants = re.search(r"pub enum LoadError \{(.*?)^\}", source, re.M | re.S)
    assert variants
    reasons = set(re.findall(r"^    (\w+)(?: \{|,)", variants.group(1), re.M))
    table = re.search(r"^\| reason \|.*?\n\n", PAGE, re.M | re.S)
    assert table
    # The last one is the package's own.
    assert set(re.findall(r"`([A-Z]\w+)`", table.group())) == reasons | {"MissingKernel"}


def test_every_fallback_stands_in_the_page() -> None:
    source = (sources.RUST / "packs" / "src" / "serve" / "counters.rs").read_text(encoding="utf-8")
    reasons = re.search(r"const REASONS.*?= \[(.*?)\];", source, re.S)
    assert reasons
    table = re.search(r"^\| fallback \|.*?\n\n", PAGE, re.M | re.S)
    assert table
    assert re.findall(r'"(\w+)"', reasons.group(1)) == re.findall(r"^\| `(\w+)` \|", table.group(), re.M)


def test_the_manifest_names_a_real_schema() -> None:
    reference = json.loads((sources.PACKAGE / "packs" / "kernel-pack-v1.0.0" / "kernels.json").read_bytes())
    assert json.loads(block("kernels.json"))["$schema"] == reference["$schema"]
