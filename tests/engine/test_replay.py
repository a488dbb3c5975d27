"""The package over a tape: what a model said comes back, however requests are crowded and cached."""

from collections.abc import Iterator

import pytest

from benches.replay_backend import replay_backend
from ruvllm import LLM, Completion, ConfigError, GenerateParams, GenerationError
from ruvllm.config import Limits
from tests.conftest import FIXTURES

TINY = FIXTURES / "gguf" / "llama-gqa.gguf"
PROMPTS = [[(7 * place + kind * place * place) % 300 for place in range(10 + 5 * kind)] for kind in range(12)]


@pytest.fixture(autouse=True)
def _backend() -> Iterator[None]:
    with replay_backend():
        yield


def params_of(number: int, **changes: object) -> GenerateParams:
    """Greedy and drawn, short and long."""
    return GenerateParams(
        max_tokens=4 + 3 * number,
        temperature=0.8 * (number % 2),
        seed=number,
        logprobs=2,
        ignore_eos=number % 3 == 0,
        **changes,  # type: ignore[arg-type]
    )


def answers_of(llm: LLM, **changes: object) -> list[Completion]:
    return llm.generate(PROMPTS, [params_of(number, **changes) for number in range(len(PROMPTS))])


def facts_of(answer: Completion) -> tuple[object, ...]:
    return answer.text, answer.token_ids, answer.finish_reason, answer.logprobs


def test_what_was_recorded_is_said_again() -> None:
    with LLM(TINY, backend="replay:tape=one,record=yes") as llm:
        recorded = answers_of(llm, cache_prefix=False, speculate=False)
    with LLM(TINY) as llm:
        assert list(map(facts_of, answers_of(llm))) == list(map(facts_of, recorded))
    # Blocks for two or three of the twelve at a time.
    crowded = Limits(prefill_tokens=16)
    with LLM(
        TINY, backend="replay:tape=one", max_context=128, kv_cache_bytes=9 * 12_288, limits=crowded
    ) as llm:
        for _ in range(2):
            replayed = answers_of(llm)
            assert list(map(facts_of, replayed)) == list(map(facts_of, recorded))
        assert any(answer.usage.cached_tokens for answer in replayed)
        llm._open.memory.check_invariants()


def test_what_was_not_recorded_fails_and_nobody_else_does() -> None:
    asked = {"max_tokens": 2, "temperature": 0.0}
    with LLM(TINY, backend="replay:tape=two,record=yes") as llm:
        recorded = llm.generate("some text", cache_prefix=False, speculate=False, **asked)
    with LLM(TINY, backend="replay:tape=two") as llm:
        with pytest.raises(GenerationError, match="no token"):
            llm.generate("another text", **asked)
        assert llm.generate("some text", **asked).text == recorded.text


@pytest.mark.parametrize("options", ["", ":tape=there-is-none", ":seed=1,tape=x", ":tape=x,record=no"])
def test_options_that_say_nothing_are_refused(options: str) -> None:
    with pytest.raises(ConfigError):
        LLM(TINY, backend=f"replay{options}")


def test_inventions_know_each_text_from_every_other() -> None:
    """Every step checks the blocks that it is given, with prefixes of their own and of others."""
    shared = PROMPTS[3]
    prompts = [[*shared[: 3 + number % 20], *PROMPTS[number % 12][: 1 + number % 9]] for number in range(400)]
    params = [params_of(number % 7) for number in range(len(prompts))]
    with LLM(TINY, backend="replay:seed=3", max_context=128, kv_cache_bytes=10 * 12_288) as llm:
        together = llm.generate(prompts, params)
        alone = [llm.generate(prompt, one) for prompt, one in list(zip(prompts, params, strict=True))[::20]]
        assert list(map(facts_of, alone)) == list(map(facts_of, together[::20]))
