"""Every flag of every backend: what it says that it can, it does; what not, it refuses by its name."""

import inspect
import itertools
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ruvllm import LLM, Dry, DynamicTemperature, GenerateParams, Mirostat, Xtc
from ruvllm.backends.supports import Supports, explained
from ruvllm.config import Limits
from ruvllm.errors import AdapterError, ConfigError, InvalidOperationError
from ruvllm.grammar import Grammar
from tests.backends.conftest import TINY
from tests.support.faulty_engine import faulty
from tests.support.numpy_reference import Reference
from tests.support.reference_backend import FOLDERS

PROMPT = "The terms of the"


def neutral(**changes: Any) -> GenerateParams:
    plain: dict[str, Any] = {"temperature": 0.0, "repetition_penalty": 1.0, "top_p": 1.0, "max_tokens": 4}
    return GenerateParams(**plain | {"ignore_eos": "grammar" not in changes} | changes)


def generated(**changes: Any) -> Callable[[LLM], Any]:
    return lambda llm: llm.generate(PROMPT, neutral(**changes))


def same_twice(llm: LLM) -> None:
    """At a temperature at which two draws are hardly ever alike."""
    params = neutral(seed=7, temperature=4.0, max_tokens=12)
    first, again = (llm.generate(PROMPT, params).token_ids for _ in range(2))
    assert first == again
    assert llm.generate(PROMPT, neutral(seed=8, temperature=4.0, max_tokens=12)).token_ids != first


def forced(llm: LLM) -> None:
    token = llm.tokenize("X", add_bos=False)[0]
    assert set(llm.generate(PROMPT, neutral(logit_bias={token: 100.0})).token_ids) == {token}


def stopped(llm: LLM) -> None:
    plain = llm.generate(PROMPT, neutral()).token_ids
    assert len(llm.generate(PROMPT, neutral(stop_token_ids=[plain[-1]])).token_ids) < 4


def without_a_word(llm: LLM) -> None:
    word = next(one for one in llm.generate(PROMPT, neutral()).text if one.isascii())
    assert word not in llm.generate(PROMPT, neutral(bad_words=[word])).text


def processed(llm: LLM) -> None:
    other = llm.generate(PROMPT, neutral()).token_ids[0] + 1
    bias = lambda tokens, logits: logits + 100 * (np.arange(len(logits)) == other)  # noqa: E731
    assert llm.generate(PROMPT, neutral(logits_processors=[bias])).token_ids[0] == other


def with_logprobs(llm: LLM) -> None:
    completion = llm.generate(PROMPT, neutral(logprobs=2))
    assert completion.logprobs is not None
    for entry in completion.logprobs:
        # Greedily the chosen one is the likeliest.
        assert entry.top_logprobs[0] == (entry.token_id, pytest.approx(entry.logprob))
        assert len(entry.top_logprobs) == 2


def only_odd_tokens(llm: LLM) -> None:
    """Half a character, which no text becomes."""
    [token] = [one for one in range(300) if llm.token_bytes(one) == b"\xe9"]
    assert len(llm.generate([token, token], neutral()).token_ids) == 4


def profiled(llm: LLM) -> None:
    llm.start_profile()
    llm.generate(PROMPT, neutral())
    llm.take_profile()


def by_their_surprise(llm: LLM) -> None:
    """So small a share is the one token whose surprise is nearest to the entropy."""
    reference = Reference.open(FOLDERS / TINY.stem)
    text = llm.tokenize(PROMPT)
    expected: list[int] = []
    for _ in range(8):
        logits = reference.logits([*text, *expected])[-1]
        shares = np.exp(logits - logits.max())
        shares /= shares.sum()
        surprises = -np.log(shares)
        expected.append(int(np.abs(surprises - (shares * surprises).sum()).argmin()))
    for seed in (1, 2):
        params = neutral(typical_p=1e-6, temperature=1.0, max_tokens=8, seed=seed)
        assert list(llm.generate(PROMPT, params).token_ids) == expected


def by_hand(
    llm: LLM, count: int, *, repetition: float = 1.0, presence: float = 0.0, frequency: float = 0.0
) -> list[int]:
    """The likeliest tokens after penalties, on the reference in NumPy."""
    reference = Reference.open(FOLDERS / TINY.stem)
    prompt = llm.tokenize(PROMPT)
    made: list[int] = []
    for _ in range(count):
        logits = reference.logits([*prompt, *made])[-1].copy()
        for token in {*prompt, *made}:
            logits[token] *= 1 / repetition if logits[token] > 0 else repetition
        for token in set(made):
            logits[token] -= presence + frequency * made.count(token)
        made.append(int(logits.argmax()))
    return made


def penalized(name: str, value: float) -> Callable[[LLM], None]:
    def check(llm: LLM) -> None:
        told = llm.generate(PROMPT, neutral(max_tokens=24, **{name: value})).token_ids
        expected = by_hand(llm, 24, **{name.removesuffix("_penalty"): value})
        assert expected != by_hand(llm, 24)
        # Marks among them are not told of by every engine.
        assert list(told) == [token for token in expected if token in told]
        assert len(told) >= 22

    return check


def only_the_best(*, temperature: float = 50.0, **filters: Any) -> Callable[[LLM], None]:
    """What leaves the likeliest: the same as greedy, where draws would be others without."""

    def check(llm: LLM) -> None:
        best = llm.generate(PROMPT, neutral(max_tokens=8)).token_ids
        warm: dict[str, Any] = {"max_tokens": 8, "temperature": temperature}
        if llm.supports.seed:
            warm["seed"] = 1
        assert llm.generate(PROMPT, neutral(**warm)).token_ids != best
        assert llm.generate(PROMPT, neutral(**warm, **filters)).token_ids == best

    return check


def without_repetition(llm: LLM) -> None:
    plain = llm.generate(PROMPT, neutral(max_tokens=60)).token_ids
    held_back = neutral(max_tokens=60, dry=Dry(multiplier=100, allowed_length=1, sequence_breakers=()))
    tokens = llm.generate(PROMPT, held_back).token_ids
    text = [*llm.tokenize(PROMPT), *tokens]
    pairs = [*itertools.pairwise(text)]
    assert len(set(pairs)) == len(pairs)
    pairs = [*itertools.pairwise(plain)]
    assert len(set(pairs)) < len(pairs), "it repeats nothing anyway, so this shows nothing"


def never_the_best(llm: LLM) -> None:
    """Of two that are likely enough, the likeliest is left out."""
    params = neutral(temperature=0.1, top_k=2, xtc=Xtc(probability=1, threshold=0), logprobs=2, max_tokens=8)
    entries = llm.generate(PROMPT, params).logprobs or ()
    assert [one.token_id for one in entries] == [one.top_logprobs[1][0] for one in entries]


# How each flag is asked for; a flag without one fails below.
ASKS: dict[str, Callable[[LLM], Any]] = {
    "any_tokens": only_odd_tokens,
    "seed": same_twice,
    "top_k": only_the_best(top_k=1),
    "min_p": only_the_best(min_p=0.999),
    "typical_p": by_their_surprise,
    "top_n_sigma": only_the_best(top_n_sigma=0.001),
    "dry": without_repetition,
    "xtc": never_the_best,
    "dynamic_temperature": only_the_best(
        temperature=0.3, dynamic_temperature=DynamicTemperature(range=0.3, exponent=100)
    ),
    "mirostat": only_the_best(mirostat=Mirostat(tau=0)),
    "repetition_penalty": penalized("repetition_penalty", 1.5),
    "presence_penalty": penalized("presence_penalty", 1.5),
    "frequency_penalty": penalized("frequency_penalty", 0.5),
    "mixed_penalties": generated(repetition_penalty=1.1, presence_penalty=0.5),
    "logit_bias": forced,
    "stop_token_ids": stopped,
    "min_tokens": generated(min_tokens=3),
    "bad_words": without_a_word,
    "logits_processors": processed,
    "logprobs": with_logprobs,
    "any_logprobs": generated(logprobs=1, temperature=0.5),
    "prefix_cache": lambda llm: llm.prefix_cache.stats(),
    "grammar": generated(grammar=Grammar.regex("[a-z]{2}")),
    "thinking_tokens": generated(thinking_tokens=3),
    "keep_special": generated(keep_special=("<eos>",)),
    "adapters": lambda llm: llm.adapters.map_shapes(),
    "evaluations": lambda llm: llm.embed(PROMPT),
    "quotas": lambda llm: llm.pool_stats(),
    "profile": profiled,
}


# What nobody asks for by name: who comes in, and who stays. The tests below are of these.
OF_THE_QUEUE = {"side_by_side", "preemption"}


def test_every_flag_is_asked_for() -> None:
    assert set(ASKS) == set(explained()) - OF_THE_QUEUE
    assert "side_by_side" in inspect.getsource(test_who_is_in)
    assert "preemption" in inspect.getsource(test_who_stays_in)


@pytest.mark.parametrize("flag", sorted(ASKS))
def test_what_is_supported_works_and_what_is_not_is_refused(engine: LLM, flag: str) -> None:
    ask = ASKS[flag]
    if getattr(engine.supports, flag):
        ask(engine)
        return
    with pytest.raises((ConfigError, InvalidOperationError, AdapterError), match=rf"{engine.backend}|native"):
        ask(engine)
    # It goes on as if nothing had been.
    assert len(engine.generate(PROMPT, neutral()).token_ids) == 4


def test_a_bias_of_a_token_that_there_is_not(engine: LLM) -> None:
    size = engine.model_info.vocab_size
    expected = (
        f"logit_bias names token {size}; it must be below {size}"
        if engine.supports.logit_bias
        else "no logit_bias"
    )
    with pytest.raises(ConfigError, match=expected):
        engine.generate(PROMPT, neutral(logit_bias={size: 1.0}))


def test_prompts_are_scored_where_anything_is(engine: LLM) -> None:
    params = neutral(prompt_logprobs=1)
    if not engine.supports.evaluations:
        with pytest.raises(ConfigError, match=f"'{engine.backend}' has no prompt_logprobs"):
            engine.generate(PROMPT, params)
        return
    tokens = engine.tokenize(PROMPT)
    expected = (None, *engine.token_logprobs(tokens, top_logprobs=1))
    assert engine.generate(PROMPT, params).prompt_logprobs == expected


def test_every_engine_gives_several_answers(engine: LLM) -> None:
    """They are requests like any others, whether or not it can make them side by side."""
    greedy = engine.generate(PROMPT, neutral()).token_ids
    made = engine.generate(PROMPT, neutral(n=3))
    assert [one.token_ids for one in made.choices] == [greedy] * 3
    if engine.supports.seed:
        drawn = neutral(seed=7, temperature=4.0, max_tokens=12)
        alone = [engine.generate(PROMPT, drawn, seed=7 + index).token_ids for index in range(3)]
        assert [one.token_ids for one in engine.generate(PROMPT, drawn, n=3).choices] == alone


def in_and_waiting(llm: LLM) -> tuple[int, int]:
    stats = llm.memory_stats()
    return stats.running_requests, stats.waiting_requests


def settled(found: Callable[[], Any], wanted: Any) -> None:
    until = time.monotonic() + 20
    while found() != wanted:
        assert time.monotonic() < until, found()
        time.sleep(0.01)


def test_who_is_in(engine: LLM) -> None:
    params = neutral(max_tokens=400, temperature=1.0)
    with faulty(engine) as slowly:
        slowly.step_seconds = 0.02
        streams = [engine.stream(PROMPT, params) for _ in range(2)]
        settled(lambda: in_and_waiting(engine), (2, 0) if engine.supports.side_by_side else (1, 1))
        for stream in streams:
            stream.close()
    settled(lambda: in_and_waiting(engine), (0, 0))


def test_who_stays_in(engine: LLM) -> None:
    """With one place, a request of a higher rank has it at once where the other can be set aside."""
    limits = Limits(max_running=1)
    made = LLM(engine.model_info.path, backend=engine.backend, limits=limits, progress=False)
    with made as llm, faulty(llm) as slowly:
        slowly.step_seconds = 0.02
        low = llm.stream(PROMPT, neutral(max_tokens=40, temperature=1.0))
        next(low)
        high = llm.stream(PROMPT, neutral(), priority=1)
        wanted = [chunk.finish_reason for chunk in (high if llm.supports.preemption else low)][-1]
        assert wanted == "length"
        assert bool(llm.memory_stats().preemptions) == llm.supports.preemption
        low.close()
        high.close()


def test_a_flag_that_nobody_mentions_is_not_set() -> None:
    assert not any(getattr(Supports(), name) for name in explained())
    assert all(getattr(Supports.everything(frozenset()), name) for name in explained())


@pytest.mark.parametrize("setting", ["kv_format", "isa", "activations", "weight_image", "speculation"])
def test_a_setting_that_would_change_nothing_is_refused(engine: LLM, setting: str) -> None:
    value: Any = {
        "kv_format": "int8",
        "isa": "scalar",
        "activations": "f32",
        "weight_image": "off",
        "speculation": "off",
    }[setting]
    path = engine.model_info.path
    if setting in engine.supports.settings:
        LLM(path, backend=engine.backend, progress=False, **{setting: value}).close()
        return
    with pytest.raises(ConfigError, match=f"{setting} is set.*{engine.backend}"):
        LLM(path, backend=engine.backend, progress=False, **{setting: value})
