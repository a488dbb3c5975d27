"""A draft model changes no answer, shares the memory, and is refused where its tokens are others.

What it guesses and when is tested where steps can be counted: rust/core/tests/draft_model.rs.
"""

from dataclasses import replace
from pathlib import Path

import pytest

from ruvllm import LLM, GenerateParams
from ruvllm.errors import ConfigError
from tests.conftest import FIXTURES

TINY = FIXTURES / "models" / "llama-gqa"
QUESTION = "Write two sentences about the sea."
GREEDY = GenerateParams(max_tokens=40, temperature=0.0, repetition_penalty=1.0, logprobs=1)
CASES = [
    GREEDY,
    replace(GREEDY, temperature=0.8, top_p=0.9, seed=5),
    replace(GREEDY, temperature=1.1, top_k=40, repetition_penalty=1.2, seed=6),
]


@pytest.mark.real_model
def test_answers_are_the_same_with_a_draft_model(smollm2_path: Path) -> None:
    with LLM(smollm2_path, max_context=512) as alone:
        expected = [alone.chat(QUESTION, params) for params in CASES]
    with LLM(smollm2_path, max_context=512, draft=smollm2_path) as llm:
        for params, one in zip(CASES, expected, strict=True):
            answer = llm.chat(QUESTION, params)
            assert (answer.token_ids, answer.logprobs) == (one.token_ids, one.logprobs)
        # Also of several at once, and of one that wants no guesses among them.
        together = [replace(CASES[0], speculate=False), *CASES[1:]]
        guessed = llm.generate([QUESTION] * 3, together)
        assert [one.token_ids for one in guessed] == [
            one.token_ids for one in llm.generate([QUESTION] * 3, CASES)
        ]


def test_both_have_their_part_of_the_budget() -> None:
    budget = 4 << 20
    with LLM(TINY, max_context=128, kv_cache_bytes=budget) as alone:
        whole = alone.pool_stats()
    with LLM(TINY, max_context=128, kv_cache_bytes=budget, draft=TINY) as llm:
        part = llm.pool_stats()
        assert len(llm.generate([3, 4, 5], max_tokens=20, temperature=0).token_ids) <= 20
    # The same model with 8 bits instead of 32: a third less than a fifth and a half of it.
    share = part.total_blocks / whole.total_blocks
    assert 0.6 < share < 0.85


def test_a_model_with_other_tokens_is_refused(smollm2_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be the draft model.*the same tokenizer"):
        LLM(TINY, draft=smollm2_path)


def test_nothing_guesses_where_nothing_may_be_guessed() -> None:
    with pytest.raises(ConfigError, match=r"draft is .* speculation is off"):
        LLM(TINY, draft=TINY, speculation="off")
