"""Adapters where answers are awaited: what is asked for so is what the methods that wait give."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import pytest

from ruvllm import LLM, AsyncEngine, ChatSession, ConfigError, GenerateParams
from ruvllm.errors import NotFoundError
from ruvllm.runtime.request import Terms
from tests.conftest import FIXTURES
from tests.serve.tiny_models import with_chat_template

ADAPTERS = FIXTURES / "adapters"
NAMES = ("lora-all-r4", "lora-rs-r8")
PROMPT = [5, 17, 42, 9]
GREEDY = GenerateParams(max_tokens=16, temperature=0.0, repetition_penalty=1.0, ignore_eos=True)
CHOICES = [None, NAMES[0], NAMES[1], {NAMES[0]: 1.0, NAMES[1]: -0.5}]


@pytest.fixture(scope="module")
def llm() -> Iterator[LLM]:
    with LLM(FIXTURES / "gguf" / "llama-gqa.gguf", activations="f32") as llm:
        for name in NAMES:
            llm.adapters.load(name, ADAPTERS / name / "adapter")
        yield llm


@pytest.fixture
def tiny_chat_llm(tmp_path: Path) -> Iterator[LLM]:
    path = with_chat_template(FIXTURES / "gguf" / "llama-gqa.gguf", tmp_path / "tiny.gguf")
    with LLM(path) as llm:
        for name in NAMES:
            llm.adapters.load(name, ADAPTERS / name / "adapter")
        yield llm


@pytest.fixture
async def engine(llm: LLM) -> AsyncIterator[AsyncEngine]:
    async with AsyncEngine(llm) as engine:
        yield engine


async def test_each_method_has_the_adapter_that_it_is_told(llm: LLM, engine: AsyncEngine) -> None:
    assert engine.adapters is llm.adapters
    texts = set()
    for choice in CHOICES:
        expected = llm.generate(PROMPT, GREEDY, adapter=choice)
        texts.add(expected.text)
        assert (await engine.generate(PROMPT, GREEDY, adapter=choice)).text == expected.text
        pieces = [chunk.text async for chunk in engine.stream(PROMPT, GREEDY, adapter=choice)]
        assert "".join(pieces) == expected.text
        pieces = [chunk.text async for chunk in llm.astream(PROMPT, GREEDY, adapter=choice)]
        assert "".join(pieces) == expected.text
        scores = await engine.token_logprobs(PROMPT, adapter=choice)
        assert scores == llm.token_logprobs(PROMPT, adapter=choice)
        assert scores == await llm.atoken_logprobs(PROMPT, adapter=choice)
        vector = llm.embed(PROMPT, adapter=choice)
        assert np.array_equal(await engine.embed(PROMPT, adapter=choice), vector)
        assert np.array_equal(await llm.aembed(PROMPT, adapter=choice), vector)
    assert len(texts) == len(CHOICES)


async def test_together_each_has_its_own(llm: LLM, engine: AsyncEngine) -> None:
    expected = [llm.generate(PROMPT, GREEDY, adapter=one).text for one in CHOICES]
    found = await asyncio.gather(*(engine.generate(PROMPT, GREEDY, adapter=one) for one in CHOICES * 2))
    assert [one.text for one in found] == expected * 2


async def test_a_list_of_texts_has_one_adapter_or_one_each(llm: LLM, engine: AsyncEngine) -> None:
    prompts = [PROMPT, PROMPT[::-1], PROMPT[1:], PROMPT]
    alone = [llm.embed(one, adapter=choice) for one, choice in zip(prompts, CHOICES, strict=True)]
    assert len({tuple(one) for one in alone}) == len(alone)
    for found in (llm.embed(prompts, adapter=CHOICES), await engine.embed(prompts, adapter=CHOICES)):
        assert np.array_equal(found, np.stack(alone))
    shared = await engine.embed(prompts, adapter=NAMES[0])
    assert np.array_equal(shared, np.stack([llm.embed(one, adapter=NAMES[0]) for one in prompts]))
    with pytest.raises(ConfigError, match="3 adapters for 4 prompts"):
        await engine.embed(prompts, adapter=CHOICES[1:])


async def test_what_is_wrong_is_said_before_anything_runs(llm: LLM, engine: AsyncEngine) -> None:
    with pytest.raises(NotFoundError, match="no adapter 'nobody'"):
        await engine.generate(PROMPT, GREEDY, adapter="nobody")
    with pytest.raises(NotFoundError, match="no adapter 'nobody'"):
        await engine.embed([PROMPT], adapter="nobody")
    # A list beside one prompt is nobody's adapter.
    for wrong in (
        lambda: llm.generate(PROMPT, GREEDY, adapter=[NAMES[0]]),  # type: ignore[list-item]
        lambda: llm.embed(PROMPT, adapter=[NAMES[0]]),
        lambda: llm.stream(PROMPT, GREEDY, adapter=[NAMES[0]]),  # type: ignore[arg-type]
    ):
        with pytest.raises(ConfigError, match="a list of adapters is for a list of prompts"):
            wrong()


async def test_terms_that_were_made_before_hold_what_a_name_stood_for(llm: LLM, engine: AsyncEngine) -> None:
    """Its name may go, or get another content, between the terms and what is done on them."""
    llm.adapters.load("passing", ADAPTERS / NAMES[0] / "adapter")
    work = engine.on(Terms("somebody", adapters=llm.adapters.chosen("passing")))
    llm.adapters.replace("passing", ADAPTERS / NAMES[1] / "adapter")
    expected = llm.generate(PROMPT, GREEDY, adapter=NAMES[0]).text
    assert "".join([chunk.text async for chunk in work.stream(PROMPT, GREEDY)]) == expected
    llm.adapters.unload("passing")
    assert "".join([chunk.text async for chunk in work.stream(PROMPT, GREEDY)]) == expected
    assert np.array_equal(await work.embed(PROMPT), llm.embed(PROMPT, adapter=NAMES[0]))
    assert await work.token_logprobs(PROMPT) == llm.token_logprobs(PROMPT, adapter=NAMES[0])


def test_a_chat_has_its_adapter_in_all_turns_and_forks(tiny_chat_llm: LLM) -> None:
    def said(session: ChatSession) -> list[str]:
        return [session.send(text).text for text in ("the cat", "a dog")]

    params = GenerateParams(max_tokens=8, temperature=0.0, repetition_penalty=1.0, ignore_eos=True)
    texts = {}
    for name in (None, *NAMES):
        session = ChatSession(tiny_chat_llm, params=params, adapter=name)
        fork = session.fork()
        texts[name] = said(session)
        assert said(fork) == texts[name]
        first = tiny_chat_llm.chat("the cat", params, adapter=name)
        assert texts[name][0] == first.text
    assert all(texts[None][turn] != texts[NAMES[0]][turn] for turn in range(2))
