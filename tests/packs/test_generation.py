"""The reference pack in the forward pass: the same tokens as without it, and the calls are counted."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest

from ruvllm.errors import InvalidOperationError, PackError
from ruvllm.llm import LLM
from ruvllm.packs import KernelPack
from ruvllm.params import GenerateParams
from ruvllm.serve import create_app
from tests.conftest import FIXTURES, REFERENCE_GGUF, REFERENCE_MODELS
from tests.packs.pack_copies import TRUSTED, copy_pack
from tests.serve.running import running

pytestmark = pytest.mark.usefixtures("home")
GREEDY = GenerateParams(temperature=0.0, repetition_penalty=1.0, max_tokens=16, ignore_eos=True)
TINY = FIXTURES / "gguf" / "llama-gqa.gguf"
IN_THE_PASS = ("rmsnorm", "rope", "swiglu")
FILES = [
    *(FIXTURES / "models" / name for name in REFERENCE_MODELS),
    *(FIXTURES / "gguf" / f"{name}.gguf" for name in REFERENCE_GGUF),
]


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_the_oracles_tokens(path: Path) -> None:
    """Those that PyTorch chose for the reference models, as without a pack."""
    expected = dict(np.load(FIXTURES / "models" / path.stem / "expected.npz"))
    with LLM(path, activations="f32", kernel_pack="reference") as llm:
        completion = llm.generate(expected["input_ids"], GREEDY)
        assert list(completion.token_ids) == expected["greedy"].tolist()
        stats = llm.stats().kernel_pack
    assert stats is not None
    assert stats.pack == "ruvllm-reference 1.0.0"
    assert all(stats.calls[operation] > 0 for operation in IN_THE_PASS), stats
    assert all(stats.native_calls[operation] == 0 for operation in IN_THE_PASS), stats
    assert stats.fallbacks == {}


@pytest.fixture(scope="session")
def real_paths(smollm2_path: Path, gemma3_path: Path) -> dict[str, Path]:
    """Of the session, so that they are found in the user's cache and not in the test's."""
    return {"smollm2": smollm2_path, "gemma3": gemma3_path}


@pytest.mark.real_model
@pytest.mark.parametrize("model", ["smollm2", "gemma3"])
def test_a_real_model_says_the_same(real_paths: dict[str, Path], model: str) -> None:
    prompt = "The capital of France is"
    # Without guesses, so that there is a step for each token.
    params = GenerateParams(
        temperature=0.0, repetition_penalty=1.0, max_tokens=48, ignore_eos=True, speculate=False
    )
    with LLM(real_paths[model], max_context=512) as native:
        expected = native.generate(prompt, params).token_ids
        assert native.kernel_packs is None
        assert native.stats().kernel_pack is None
    with LLM(real_paths[model], max_context=512, kernel_pack="reference") as llm:
        assert llm.generate(prompt, params).token_ids == expected
        stats = llm.stats().kernel_pack
        layers = llm.model_info.num_layers
    assert stats is not None
    # Each step norms at least twice a layer, and once at its end; a step has at least one token.
    assert stats.calls["rmsnorm"] >= (2 * layers + 1) * (len(expected) - 1)
    assert stats.calls["rope"] >= layers * (len(expected) - 1)
    assert stats.calls["swiglu"] >= layers * (len(expected) - 1)
    assert stats.fallbacks == {}


def test_on_and_off_between_requests() -> None:
    with LLM(TINY, kernel_pack="reference") as llm:
        manager = llm.kernel_packs
        assert manager is not None
        with_pack = llm.generate([1, 2, 3], GREEDY).token_ids
        counted = manager.stats()
        manager.deactivate()
        assert llm.generate([1, 2, 3], GREEDY).token_ids == with_pack
        native = manager.stats()
        assert native.calls == counted.calls
        assert native.native_calls["rmsnorm"] > counted.native_calls["rmsnorm"]
        manager.rollback()
        llm.generate([1, 2, 3], GREEDY)
        assert manager.stats().calls["rmsnorm"] > native.calls["rmsnorm"]


def test_upgrades_under_sixteen_streams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds of requests run until the last swap is done: every swap meets some that are under way."""
    monkeypatch.setenv("RUVLLM_TRUSTED_KEYS", TRUSTED)
    packs = [copy_pack(tmp_path / version, version=version) for version in ("1.0.0", "1.1.0", "1.2.0")]
    params = GenerateParams(temperature=0.0, repetition_penalty=1.0, max_tokens=60, ignore_eos=True)
    prompts = [[index + 1, 7, 9] for index in range(16)]
    with LLM(TINY) as llm:
        expected = [one.token_ids for one in llm.generate(prompts, params)]
    with LLM(TINY, kernel_pack=packs[0]) as llm, ThreadPoolExecutor(1) as pool:
        manager = llm.kernel_packs
        assert manager is not None

        def swap() -> KernelPack:
            manager.activate(packs[1])
            manager.activate(packs[2])
            return manager.rollback()

        swapping, rounds = pool.submit(swap), 0
        while not swapping.done() or rounds == 0:
            assert [one.token_ids for one in llm.generate(prompts, params)] == expected
            rounds += 1
        assert swapping.result().version == "1.1.0"
        assert manager.stats().fallbacks == {}


def test_a_pack_of_nobody_that_is_trusted(my_pack: Path) -> None:
    with pytest.raises(PackError) as caught:
        LLM(TINY, kernel_pack=my_pack)
    assert caught.value.reason == "NoTrustedKey"


def test_an_older_version_is_refused_by_the_next_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUVLLM_TRUSTED_KEYS", TRUSTED)
    with LLM(TINY, kernel_pack=copy_pack(tmp_path / "new", version="1.1.0")):
        pass
    with pytest.raises(PackError) as caught:
        LLM(TINY, kernel_pack=copy_pack(tmp_path / "old", version="1.0.0"))
    assert caught.value.reason == "Downgrade"


def test_the_metrics_count() -> None:
    with LLM(TINY, kernel_pack="reference") as llm, running(create_app({"tiny": llm})) as server:
        llm.generate([1, 2, 3], GREEDY)
        text = httpx.get(f"{server.url}/metrics").text
        stats = llm.stats().kernel_pack
    assert stats is not None
    line = 'ruvllm:kernel_pack_calls_total{model_name="tiny",operation="rmsnorm"}'
    assert f"{line} {float(stats.calls['rmsnorm'])}" in text
    assert stats.calls["rmsnorm"] > 0


def test_closing_does_not_end_the_counts() -> None:
    llm = LLM(TINY, kernel_pack="reference")
    llm.generate([1, 2, 3], GREEDY)
    llm.close()
    with pytest.raises(InvalidOperationError):
        llm.generate([1, 2, 3], GREEDY)
    assert llm.kernel_packs is not None
    assert llm.kernel_packs.stats().calls["rmsnorm"] > 0
