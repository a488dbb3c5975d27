"""The same parameters mean the same on candle: where the logits agree, so do the draws."""

from typing import Any

import pytest

from ruvllm import LLM, Dry, DynamicTemperature, GenerateParams, Mirostat, Xtc
from ruvllm.errors import ConfigError
from ruvllm.grammar import Grammar
from tests.backends.candle.running import FILES, natively, on_candle

pytest.importorskip(
    "ruvllm_candle._candle", reason="ruvllm-candle is not installed: make test-candle builds it"
)

TINY = FILES / "llama-gqa.gguf"
PROMPT = "The terms of the"
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
ASKED: list[dict[str, Any]] = [
    {},
    {"temperature": 1.3, "top_p": 1.0},
    {"top_k": 20, "min_p": 0.01},
    {"typical_p": 0.7, "top_n_sigma": 2.0},
    {"repetition_penalty": 1.4, "presence_penalty": 0.6, "frequency_penalty": 0.3},
    {"dry": Dry(multiplier=1.5), "xtc": Xtc(probability=0.5, threshold=0.01)},
    {"mirostat": Mirostat(tau=3)},
    {"dynamic_temperature": DynamicTemperature(range=0.5)},
    {"logit_bias": {20: 4.0, 30: -100.0}},
    {"bad_words": ["e", " t"], "min_tokens": 10},
    {"grammar": Grammar.regex("[a-z ]{4,30}"), "ignore_eos": False},
    {"grammar": Grammar.json_schema(SCHEMA), "ignore_eos": False},
    {"logprobs": 3},
]  # fmt: skip


@pytest.fixture(scope="module")
def both() -> Any:
    with natively(TINY) as native, on_candle(TINY) as candle:
        yield native, candle


@pytest.mark.parametrize("asked", ASKED, ids=lambda asked: "-".join(asked) or "default")
def test_draws_are_the_native_engine_s(both: tuple[LLM, LLM], asked: dict[str, Any]) -> None:
    for seed in (1, 2):
        plain: dict[str, Any] = {"seed": seed, "max_tokens": 24, "ignore_eos": True}
        params = GenerateParams(**plain | asked)
        native, candle = (llm.generate(PROMPT, params) for llm in both)
        assert candle.token_ids == native.token_ids
        assert candle.text == native.text
        assert candle.finish_reason == native.finish_reason
        assert candle.usage.completion_tokens == native.usage.completion_tokens
        for one, other in zip(candle.logprobs or (), native.logprobs or (), strict=True):
            assert one.logprob == pytest.approx(other.logprob, abs=1e-3)


def test_what_ended_an_answer_is_told(both: tuple[LLM, LLM]) -> None:
    native = both[0]
    greedy = GenerateParams(temperature=0.0, repetition_penalty=1.0, max_tokens=24, ignore_eos=True)
    tokens = native.generate(PROMPT, greedy).token_ids
    by_token = [llm.generate(PROMPT, greedy, stop_token_ids=[tokens[3]]) for llm in both]
    assert by_token[0].stop_reason == by_token[1].stop_reason == tokens[3]
    text = native.generate(PROMPT, greedy).text
    by_text = [llm.generate(PROMPT, greedy, stop=text[4:7]) for llm in both]
    assert by_text[0].stop_reason == by_text[1].stop_reason == text[4:7]
    assert by_text[0].text == by_text[1].text


def test_tokens_that_there_are_not_are_refused(both: tuple[LLM, LLM]) -> None:
    candle = both[1]
    size = candle.model_info.vocab_size
    with pytest.raises(ConfigError, match=f"token {size} is none of the model"):
        candle.generate(PROMPT, stop_token_ids=[size])


def test_one_answer_after_the_other(both: tuple[LLM, LLM]) -> None:
    """A stream that is left open holds the place; one that is closed gives it back."""
    candle = both[1]
    greedy = GenerateParams(temperature=0.0, repetition_penalty=1.0, max_tokens=200, ignore_eos=True)
    wanted = candle.generate(PROMPT, greedy, max_tokens=8).token_ids
    stream = candle.stream(PROMPT, greedy)
    next(stream)
    stream.close()
    assert candle.generate(PROMPT, greedy, max_tokens=8).token_ids == wanted
