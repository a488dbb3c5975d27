"""Layers with a window of a real model: less memory, the same tokens."""

from pathlib import Path

import pytest

import ruvllm._native as _native
from ruvllm import LLM, GenerateParams
from ruvllm.errors import OutOfMemoryError
from ruvllm.runtime.kv_shape import KvShape

pytestmark = pytest.mark.real_model

PARAMS = GenerateParams(max_tokens=24, temperature=0.0, repetition_penalty=1.0, ignore_eos=True)
TEXT = "".join(f"Line {line}: the register holds {line * 7919 % 1000}. " for line in range(200))


@pytest.fixture(scope="module")
def layers(gemma3_path: Path) -> tuple[int, KvShape]:
    _, block_bytes, windows = _native.ModelHeader.read(gemma3_path, "auto").kv_shape(("auto", None, None))
    return block_bytes, KvShape(_native.KvBlocks.BLOCK_TOKENS, tuple(windows))


def test_a_long_context_holds_what_the_windows_reach(gemma3_path: Path, layers: tuple[int, KvShape]) -> None:
    block_bytes, shape = layers
    whole = KvShape(shape.block_tokens, (None,) * len(shape.windows))
    with LLM(gemma3_path, max_context=4096) as llm:
        prompt = llm.tokenize(TEXT)[:3000]
        expected = llm.generate(prompt, PARAMS).token_ids
    enough = shape.most_blocks(3072, 512) * block_bytes
    with LLM(gemma3_path, max_context=3072, kv_cache_bytes=enough) as llm:
        stream = llm.stream(prompt, PARAMS)
        token_ids = list(next(stream).token_ids)
        used = llm.memory_stats().kv_used_bytes
        token_ids += [token for chunk in stream for token in chunk.token_ids]
    assert tuple(token_ids) == tuple(expected)
    assert used <= shape.blocks_at(3000, 3000 + 24) * block_bytes
    # Five of six groups see 512 tokens.
    assert used < whole.blocks_at(3000, 3000) * block_bytes * 0.32


def test_what_does_not_fit_is_said(gemma3_path: Path, layers: tuple[int, KvShape]) -> None:
    block_bytes, shape = layers
    too_little = (shape.most_blocks(3072, 512) - 1) * block_bytes
    with pytest.raises(OutOfMemoryError, match=r"holds 30\d\d tokens"):
        LLM(gemma3_path, max_context=3072, kv_cache_bytes=too_little)


def test_more_conversations_fit_into_the_same_memory(gemma3_path: Path, layers: tuple[int, KvShape]) -> None:
    """Six at once, where blocks of all layers for each would have held three."""
    block_bytes, shape = layers
    budget = 3 * KvShape(shape.block_tokens, (None,) * len(shape.windows)).rows(2100) * 6 * block_bytes
    with LLM(gemma3_path, max_context=4096, kv_cache_bytes=budget) as llm:
        tokens = llm.tokenize(TEXT)
        prompts = [tokens[start : start + 2000] for start in range(0, 600, 100)]
        alone = [llm.generate(prompt, PARAMS).token_ids for prompt in prompts]
        together = [one.token_ids for one in llm.generate(prompts, PARAMS)]
        assert together == alone
        assert llm._open.loop.load().preemptions == 0
