"""What ends an answer, what must wait, and what must not be in it."""

from pathlib import Path

import pytest

from ruvllm import LLM, ConfigError, GenerateParams, Grammar
from tests.conftest import FIXTURES

GREEDY = GenerateParams(temperature=0.0, repetition_penalty=1.0, max_tokens=24)
DRAWN = GenerateParams(temperature=1.0, top_p=1.0, repetition_penalty=1.0, max_tokens=24)
PROMPT = "The capital of France is"


@pytest.fixture(scope="module")
def llm(smollm2_path: Path) -> LLM:
    return LLM(smollm2_path)


@pytest.mark.real_model
async def test_a_stop_token_ends_the_answer_and_is_its_reason(llm: LLM) -> None:
    plain = llm.generate(PROMPT, GREEDY)
    token = plain.token_ids[9]
    first = plain.token_ids.index(token)
    ends = {"stop_token_ids": [token], "stop": "no such text"}
    for made in (
        llm.generate(PROMPT, GREEDY, **ends),
        llm.stream(PROMPT, GREEDY, **ends).completion(),
        await llm.agenerate(PROMPT, GREEDY, **ends),
    ):
        assert made.token_ids == plain.token_ids[:first]
        assert (made.finish_reason, made.stop_reason) == ("stop", token)
    # The model's own end is none that the request named.
    assert llm.chat("Say yes.", GREEDY, stop_token_ids=[token]).stop_reason in (None, token)


@pytest.mark.real_model
def test_an_end_waits_for_its_time(llm: LLM) -> None:
    asked = "What is two and two? Answer with one word."
    short = llm.chat(asked, GREEDY)
    assert short.finish_reason == "stop"
    least = short.usage.completion_tokens + 5
    longer = llm.chat(asked, GREEDY, min_tokens=least, max_tokens=60)
    assert longer.usage.completion_tokens >= least
    assert longer.token_ids[: len(short.token_ids)] == short.token_ids
    assert llm.chat(asked, GREEDY, min_tokens=1).token_ids == short.token_ids


@pytest.mark.real_model
@pytest.mark.parametrize("params", [GREEDY, DRAWN])
def test_banned_texts_are_nowhere(llm: LLM, params: GenerateParams) -> None:
    for banned in (["Paris"], ["e"], [" the ", "of F", "a"]):
        for seed in range(3):
            answer = llm.generate(PROMPT, params, bad_words=banned, seed=seed, logprobs=1)
            assert not any(text in answer.text for text in banned), (banned, answer.text)
            plain = llm.generate(PROMPT, params, bad_words=banned, seed=seed, speculate=False)
            assert plain.token_ids == answer.token_ids
    assert "Paris" in llm.generate(PROMPT, GREEDY).text


@pytest.mark.real_model
def test_a_context_that_ends_before_ends_the_answer_too(smollm2_path: Path) -> None:
    with LLM(smollm2_path, max_context=64) as llm:
        prompt = (llm.tokenize(PROMPT) * 20)[:58]
        answer = llm.generate(prompt, GREEDY, min_tokens=20)
        assert (answer.finish_reason, answer.usage.completion_tokens) == ("length", 6)


@pytest.mark.real_model
def test_marks_that_are_shown_are_banned_and_others_are_no_text(llm: LLM) -> None:
    [mark] = llm.tokenize("<|im_end|>", add_bos=False, parse_special=True)
    likely = {"logit_bias": {mark: 60.0}, "ignore_eos": True, "bad_words": ["<|im_end|>"]}
    shown = llm.generate(PROMPT, GREEDY, keep_special=["<|im_end|>"], **likely)
    assert mark not in shown.token_ids
    assert mark in llm.generate(PROMPT, GREEDY, **likely).token_ids


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match="min_tokens is 9, and max_tokens allows 8"):
        GenerateParams(min_tokens=9, max_tokens=8)
    with pytest.raises(ConfigError, match="min_tokens goes on past the end of what the grammar allows"):
        GenerateParams(min_tokens=1, grammar=Grammar.regex("a"))
    with pytest.raises(ConfigError, match="stop_token_ids is 3; it must be a list"):
        GenerateParams(stop_token_ids=3)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="a token id of stop_token_ids"):
        GenerateParams(stop_token_ids=["3"])  # type: ignore[list-item]
    with pytest.raises(ConfigError, match=r"bad_words\[1\] is \'\'"):
        GenerateParams(bad_words=["x", ""])
    unknown = pytest.raises(ConfigError, match="stop_token_ids has 99999; the model has 320 tokens")
    with LLM(FIXTURES / "gguf" / "llama-gqa.gguf") as llm, unknown:
        llm.generate([3, 4], stop_token_ids=[99999])
