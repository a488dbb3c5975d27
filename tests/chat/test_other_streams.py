"""Sessions and pipelines over models whose streams say nothing of what they compute."""

from collections.abc import Iterator
from typing import Any

import pytest

from ruvllm import LLM, ChatSession, GenerateParams, RagPipeline
from ruvllm.outputs import Chunk
from tests.chat.conftest import with_template
from tests.conftest import FIXTURES

GREEDY = GenerateParams(temperature=0.0, repetition_penalty=1.0, max_tokens=4, ignore_eos=True)


class Plain(Iterator[Chunk]):
    """Chunks that can be closed, and no more."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.close = stream.close

    def __next__(self) -> Chunk:
        made: Chunk = next(self._stream)
        return made


@pytest.fixture
def llm(monkeypatch: pytest.MonkeyPatch) -> Any:
    with LLM(FIXTURES / "gguf" / "llama-gqa.gguf", max_context=256) as llm:
        real = llm.stream
        monkeypatch.setattr(llm, "stream", lambda *given, **more: Plain(real(*given, **more)))
        yield with_template(llm)


def test_a_session_goes_on(llm: LLM) -> None:
    session = ChatSession(llm, params=GREEDY)
    for turns in (1, 2):
        assert session.send("a").prompt is None
        assert len(session.history) == 2 * turns
    assert not session._answering.locked()
    assert llm.memory_stats().running_requests == 0


def test_so_does_a_pipeline(llm: LLM) -> None:
    answer = RagPipeline(llm, ["a text"], params=GREEDY).query("What?")
    assert len(answer.completion.token_ids) == 4
    assert answer.completion.prompt is None
    assert llm.memory_stats().running_requests == 0
