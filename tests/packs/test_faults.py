"""Kernels that pass their comparison and fail later, amid a generation: the text is the native one, the
failure is counted, the next request is fine."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ruvllm.errors import PackError
from ruvllm.llm import LLM
from ruvllm.packs import KernelPack
from ruvllm.params import GenerateParams
from tests.conftest import FIXTURES
from tests.packs.guide import block, build_pack
from tests.packs.pack_copies import TRUSTED

TINY = FIXTURES / "gguf" / "llama-gqa.gguf"
PROMPT = [1, 2, 3, 4, 5, 6, 7]
GREEDY = GenerateParams(temperature=0.0, repetition_penalty=1.0, max_tokens=40, ignore_eos=True)
FAULTS = {
    "trap": "__builtin_trap();",
    "deadline": "for (volatile uint32_t spin = 0;; spin++) {}",
    "error_code": "return INTERNAL_ERROR;",
    "overrun": "AT(uint8_t, d->output_offset + d->output_size)[0] = 0; return KERNEL_OK;",
    "not_finite": 'AT(float, d->output_offset)[0] = __builtin_nanf(""); return KERNEL_OK;',
}


def faulty(fault: str, when: str) -> str:
    """The page's kernel with a fault; a module keeps its own count as long as its instance lives."""
    read = "    READ_CALL(call, d, params)\n"
    source = block("rmsnorm.c")
    assert source.count(read) == 1
    return source.replace(read, f"    static uint32_t calls;\n{read}    if ({when}) {{ {fault} }}\n")


@pytest.fixture(autouse=True)
def _trusted(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUVLLM_TRUSTED_KEYS", TRUSTED)


@pytest.fixture(scope="module")
def native_tokens() -> Iterator[tuple[int, ...]]:
    with LLM(TINY) as llm:
        yield llm.generate(PROMPT, GREEDY).token_ids


@pytest.mark.parametrize("reason", FAULTS)
def test_a_fault_now_and_then(reason: str, tmp_path: Path, native_tokens: tuple[int, ...]) -> None:
    pack = build_pack(tmp_path, faulty(FAULTS[reason], "++calls % 40 == 0"))
    with LLM(TINY, kernel_pack=pack) as llm:
        assert llm.generate(PROMPT, GREEDY).token_ids == native_tokens
        stats = llm.stats().kernel_pack
        assert stats is not None
        assert set(stats.fallbacks["rmsnorm"]) == {reason}
        faults = stats.fallbacks["rmsnorm"][reason]
        assert faults == stats.native_calls["rmsnorm"] >= 1
        assert stats.calls["rmsnorm"] > faults
        assert llm.generate(PROMPT, GREEDY).token_ids == native_tokens
        assert llm.kernel_packs is not None
        current = llm.kernel_packs.current()
    assert current is not None
    assert not current.is_broken
    assert current.last_fault is not None
    assert current.last_fault.startswith("rmsnorm_f32: ")


def test_what_breaks_gives_way_to_the_pack_before(tmp_path: Path, native_tokens: tuple[int, ...]) -> None:
    """It fails at all of a prompt's rows, which the comparison has not."""
    pack = build_pack(tmp_path, faulty(FAULTS["trap"], "params.rows > 3"))
    with LLM(TINY, kernel_pack="reference") as llm:
        manager = llm.kernel_packs
        assert manager is not None
        manager.activate(pack)
        assert llm.generate(PROMPT, GREEDY).token_ids == native_tokens
        stats, current = manager.stats(), manager.current()
    assert current is not None
    assert current.name == "ruvllm-reference"
    assert stats.automatic_rollbacks == 1
    assert stats.fallbacks["rmsnorm"]["trap"] == 3


def test_what_breaks_with_none_before_it_is_native(tmp_path: Path, native_tokens: tuple[int, ...]) -> None:
    pack = build_pack(tmp_path, faulty(FAULTS["trap"], "params.rows > 3"))
    with LLM(TINY, kernel_pack=pack) as llm:
        assert llm.generate(PROMPT, GREEDY).token_ids == native_tokens
        assert llm.kernel_packs is not None
        stats, current = llm.kernel_packs.stats(), llm.kernel_packs.current()
    assert current is not None
    assert current.is_broken
    assert stats.fallbacks["rmsnorm"]["trap"] == 3
    assert stats.fallbacks["rmsnorm"]["broken"] > 0


def test_a_kernel_that_computes_something_else(tmp_path: Path) -> None:
    source = block("rmsnorm.c").replace("(weight[i] + params", "(weight[i] * 1.0001f + params")
    with pytest.raises(PackError, match="rmsnorm_f32 fails its health check") as caught:
        KernelPack.verify(build_pack(tmp_path, source))
    assert caught.value.reason == "HealthCheckFailed"
