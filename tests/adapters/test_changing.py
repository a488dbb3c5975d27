"""Adapters that are changed while requests use them: every answer is of one content, to its end."""

import itertools
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

import pytest

from ruvllm import LLM, GenerateParams
from ruvllm.errors import AdapterError, ConfigError, NotFoundError
from tests.adapters.contents import CONTENTS
from tests.conftest import FIXTURES

STREAMS = 16
TIMES = 30
# Of all streams together, between two replacements: an answer sees some.
PIECES = 150
PARAMS = GenerateParams(max_tokens=40, temperature=0.0, repetition_penalty=1.0, ignore_eos=True)
PROMPTS = [tuple((5 * number + one) % 300 + 3 for number in range(20 + one)) for one in range(STREAMS)]


@pytest.fixture
def llm() -> Iterator[LLM]:
    with LLM(FIXTURES / "models" / "llama-gqa", threads=1) as llm:
        llm.adapters.load("tone", CONTENTS[0])
        yield llm


class Answer(NamedTuple):
    """What one stream gave, and how often the adapter had been replaced around its request."""

    stream: int
    token_ids: tuple[int, ...]
    replaced_before: int
    begun_after: int
    replaced_at_the_end: int


class Streaming:
    """Asks for one stream after another, while somebody replaces the adapter."""

    def __init__(self, llm: LLM) -> None:
        self.llm = llm
        self.begun = 0
        self.replaced = 0
        self.pieces = threading.Semaphore(0)
        self.has_begun = threading.Event()
        self.is_over = threading.Event()

    def stream(self, number: int) -> list[Answer]:
        answers = []
        while not self.is_over.is_set():
            before = self.replaced
            with self.llm.stream(PROMPTS[number], PARAMS, adapter="tone") as pieces:
                after = self.begun
                if before == after:
                    self.has_begun.set()
                token_ids: list[int] = []
                for piece in pieces:
                    token_ids += piece.token_ids
                    self.pieces.release()
            answers.append(Answer(number, tuple(token_ids), before, after, self.replaced))
        return answers

    def replace(self) -> None:
        """Again and again, when a request has begun since the last time, and so many pieces were given."""
        try:
            for number in range(1, TIMES + 1):
                assert self.has_begun.wait(20)
                for _ in range(PIECES):
                    assert self.pieces.acquire(timeout=20)
                self.begun = number
                self.llm.adapters.replace("tone", CONTENTS[number % 2])
                self.has_begun.clear()
                self.replaced = number
        finally:
            self.is_over.set()


def test_every_answer_is_of_one_content_while_it_is_replaced_under_streams(llm: LLM) -> None:
    llm.adapters.load("other", CONTENTS[1])
    uncached = replace(PARAMS, cache_prefix=False)
    alone = [
        tuple(llm.generate(prompt, uncached, adapter=name).token_ids for name in ("tone", "other"))
        for prompt in PROMPTS
    ]
    assert all(first != second for first, second in alone)
    streaming = Streaming(llm)
    with ThreadPoolExecutor(STREAMS) as pool:
        running = [pool.submit(streaming.stream, number) for number in range(STREAMS)]
        streaming.replace()
        answers = list(itertools.chain.from_iterable(one.result() for one in running))
    for answer in answers:
        # One that was asked for after the call had returned, and before the next began, has no choice.
        times = range(answer.replaced_before, answer.begun_after + 1)
        assert answer.token_ids in {alone[answer.stream][number % 2] for number in times}
    # It was replaced in the middle of answers, and some had no choice.
    assert any(answer.replaced_at_the_end > answer.begun_after for answer in answers)
    sure = {one.replaced_before % 2 for one in answers if one.replaced_before == one.begun_after}
    assert sure == {0, 1}


def test_what_is_forgotten_while_it_is_used_stays_to_the_end(llm: LLM) -> None:
    expected = llm.generate(PROMPTS[0], PARAMS, adapter="tone").token_ids
    with llm.stream(PROMPTS[0], PARAMS, adapter="tone") as pieces:
        found = list(next(pieces).token_ids)
        llm.adapters.unload("tone")
        # Another under the same name is another.
        llm.adapters.load("tone", CONTENTS[1])
        for piece in pieces:
            found += piece.token_ids
    assert tuple(found) == expected


@contextmanager
def held(llm: LLM) -> Iterator[None]:
    """Keep the engine from computing: who has begun has not ended, as long as the block lasts."""
    is_held, may_go = threading.Event(), threading.Event()

    def hold() -> None:
        is_held.set()
        assert may_go.wait(20)

    with ThreadPoolExecutor(1) as pool:
        holding = pool.submit(llm._loop.call, hold)
        try:
            assert is_held.wait(20)
            yield
        finally:
            may_go.set()
        holding.result()


def test_unloading_what_is_used_can_be_refused(llm: LLM) -> None:
    with held(llm):
        streams = [llm.stream(PROMPTS[0], PARAMS, adapter={"tone": scale}) for scale in (0.5, 1.0)]
        with pytest.raises(AdapterError, match="'tone' is in use by 2 requests"):
            llm.adapters.unload("tone", when_used="refuse")
        assert llm.adapters.info("tone").rank == 4
    for stream in streams:
        stream.completion()
    llm.adapters.unload("tone", when_used="refuse")
    assert llm.adapters.list() == []


def test_what_others_use_does_not_count(llm: LLM) -> None:
    llm.adapters.load("other", CONTENTS[1])
    with held(llm), llm.stream(PROMPTS[0], PARAMS, adapter="tone"):
        llm.adapters.unload("other", when_used="refuse")
        # What the name stood for before is not what it stands for.
        llm.adapters.replace("tone", CONTENTS[2])
        llm.adapters.unload("tone", when_used="refuse")


def test_unloading_what_is_used_can_wait(llm: LLM) -> None:
    expected = llm.generate(PROMPTS[0], PARAMS, adapter="tone").token_ids
    with ThreadPoolExecutor(1) as pool:
        with held(llm):
            stream = llm.stream(PROMPTS[0], PARAMS, adapter="tone")
            unloading = pool.submit(llm.adapters.unload, "tone", when_used="wait", timeout=20)
            while llm.adapters.list():
                time.sleep(0.001)
            assert not unloading.done()
            with pytest.raises(NotFoundError):
                llm.stream(PROMPTS[0], PARAMS, adapter="tone")
        unloading.result()
        assert llm.memory_stats().running_requests == 0
    assert stream.completion().token_ids == expected


def test_it_waits_so_long_and_no_longer(llm: LLM) -> None:
    with held(llm), llm.stream(PROMPTS[0], PARAMS, adapter="tone"):
        with pytest.raises(AdapterError, match=r"forgotten; after 0\.01 s 1 requests still use it"):
            llm.adapters.unload("tone", when_used="wait", timeout=0.01)
        assert llm.adapters.list() == []


def test_however_a_request_ends_it_ends_a_use(llm: LLM) -> None:
    """Cancelled before it began and after, refused, failed, of another kind."""
    with held(llm):
        for _ in range(4):
            llm.stream(PROMPTS[0], PARAMS, adapter="tone").close()
        llm.adapters.load("other", CONTENTS[0])
        llm.adapters.unload("other", when_used="refuse")
    with llm.stream(PROMPTS[0], PARAMS, adapter="tone") as stream:
        next(stream)
    with pytest.raises(ConfigError):
        llm.generate([1] * 10_000, PARAMS, adapter="tone")
    with pytest.raises(ConfigError):
        llm.generate([100_000], PARAMS, adapter="tone")
    assert llm.logits([5, 6, 7], adapter="tone").shape == (3, 320)
    llm.adapters.unload("tone", when_used="wait", timeout=20)


def test_what_else_is_asked_is_refused(llm: LLM) -> None:
    with pytest.raises(ConfigError, match="'never'; it must be one of forget, refuse, wait"):
        llm.adapters.unload("tone", when_used="never")  # type: ignore[arg-type]
    assert [one.name for one in llm.adapters.list()] == ["tone"]
