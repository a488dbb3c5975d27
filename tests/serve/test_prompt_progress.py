"""How far a prompt is read: told to the streams that ask for it, in llama.cpp's form, and to no other."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from ruvllm import LLM, Limits
from ruvllm.runtime.request import PromptProgress
from ruvllm.runtime.streams import AsyncCompletionStream
from ruvllm.serve import create_app, generation
from tests.serve.conftest import TINY
from tests.serve.running import RunningServer, running
from tests.support.faulty_engine import faulty

PART = 16
# Long enough for looks between two steps, which are more frequent here.
STEP_SECONDS, LOOK_SECONDS = 0.08, 0.02
PROMPT = list(range(5, 5 + 6 * PART))
ASKED = {"return_progress": True}


@pytest.fixture(scope="module")
def slow(tiny_chat_path: Path) -> Iterator[RunningServer]:
    """A server whose model reads a few tokens of a prompt in a step, and a step takes its time."""
    llm = LLM(tiny_chat_path, limits=Limits(prefill_tokens=PART))
    patched = pytest.MonkeyPatch.context()
    with llm, faulty(llm) as engine, running(create_app({TINY: llm})) as server, patched as patch:
        patch.setattr(generation, "PROGRESS_SECONDS", LOOK_SECONDS)
        engine.step_seconds = STEP_SECONDS
        yield server


def events(server: RunningServer, path: str, **fields: Any) -> list[dict[str, Any]]:
    body = {"model": TINY, "max_tokens": 1, "temperature": 0, "stream": True, **fields}
    with httpx.stream("POST", f"{server.url}{path}", json=body, timeout=30) as answer:
        lines = [line.removeprefix("data: ") for line in answer.iter_lines() if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def told(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [event["prompt_progress"] for event in found if "prompt_progress" in event]


def check_told(found: list[dict[str, Any]], total: int, cached: int) -> None:
    progress = told(found)
    assert len(progress) >= 2
    assert {(one["total"], one["cache"]) for one in progress} == {(total, cached)}
    processed = [one["processed"] for one in progress]
    assert processed == sorted(set(processed)), "only what has changed is told"
    assert {(one - cached) % PART for one in processed} == {0}
    assert cached <= processed[0] < processed[-1] < total
    times = [one["time_ms"] for one in progress]
    assert times == sorted(set(times))
    assert times[0] > 0


def test_a_completion_s_stream_tells_how_far_it_is_and_what_was_cached(slow: RunningServer) -> None:
    found = events(slow, "/v1/completions", prompt=PROMPT, **ASKED)
    check_told(found, len(PROMPT), 0)
    # All of it comes before the first text, as pieces without any.
    begun = next(index for index, event in enumerate(found) if event["choices"][0]["text"])
    assert all("prompt_progress" in event for event in found[:begun])
    assert not told(found[begun:])
    assert found[0]["choices"] == [{"index": 0, "text": "", "logprobs": None, "finish_reason": None}]
    # What was read is there for the next prompt that begins so.
    longer = [*PROMPT, *reversed(PROMPT)]
    found = events(slow, "/v1/completions", prompt=longer, stream_options={"include_usage": True}, **ASKED)
    cached = found[-1]["usage"]["prompt_tokens_details"]["cached_tokens"]
    assert cached >= len(PROMPT) - PART
    check_told(found, len(longer), cached)


def test_a_chat_s_stream_is_told_through_openai_s_client(slow: RunningServer) -> None:
    messages: Any = [{"role": "user", "content": "the cat sat on the mat, " * 8}]
    with openai.OpenAI(base_url=slow.api, api_key="none", max_retries=0) as client:
        chunks = list(
            client.chat.completions.create(
                model=TINY, messages=messages, max_tokens=1, stream=True, extra_body=ASKED
            )
        )
    progress = [chunk for chunk in chunks if getattr(chunk, "prompt_progress", None)]
    assert len(progress) >= 2
    said = {(one.choices[0].delta.content, one.choices[0].finish_reason) for one in progress}
    assert said == {(None, None)}
    assert chunks[0].choices[0].delta.role == "assistant"


def test_whoever_does_not_ask_or_does_not_stream_is_told_nothing(slow: RunningServer) -> None:
    prompt = [one + 100 for one in PROMPT]
    for fields in ({}, {"return_progress": False}):
        assert not told(events(slow, "/v1/completions", prompt=prompt, cache_prefix=False, **fields))
    body = {"model": TINY, "prompt": prompt, "max_tokens": 1, **ASKED}
    assert "prompt_progress" not in httpx.post(f"{slow.url}/v1/completions", json=body, timeout=30).json()


def test_several_prompts_are_told_apart(slow: RunningServer) -> None:
    prompts = [[one + 200 for one in PROMPT], [one + 60 for one in PROMPT]]
    found = events(slow, "/v1/completions", prompt=prompts, cache_prefix=False, **ASKED)
    assert {event["choices"][0]["index"] for event in found if "prompt_progress" in event} == {0, 1}
    assert sum(event["choices"][0]["finish_reason"] is not None for event in found) == 2


def test_what_is_computed_anew_is_not_told(slow: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a request that gave its place to another, told here in the engine's stead."""
    seen = iter([8, 16, 32, 8, 0, 24, 32, 48])

    def progress(stream: AsyncCompletionStream) -> PromptProgress:
        return PromptProgress(len(PROMPT), 16, next(seen, 48))

    monkeypatch.setattr(AsyncCompletionStream, "prompt_progress", property(progress))
    found = told(events(slow, "/v1/completions", prompt=PROMPT, cache_prefix=False, **ASKED))
    assert [one["processed"] for one in found] == [16, 32, 48]


def test_a_prompt_that_is_only_scored_is_not_waited_for(slow: RunningServer) -> None:
    scored = events(slow, "/v1/completions", prompt=PROMPT[:4], max_tokens=0, echo=True, logprobs=0, **ASKED)
    assert scored[-1]["choices"][0]["finish_reason"] == "length"


def test_who_leaves_while_it_is_told_ends_the_request(slow: RunningServer) -> None:
    body = {"model": TINY, "prompt": [one + 30 for one in PROMPT], "stream": True, **ASKED}
    with httpx.stream("POST", f"{slow.url}/v1/completions", json=body, timeout=30) as answer:
        assert "prompt_progress" in next(line for line in answer.iter_lines() if line.startswith("data: "))
    llm: LLM = next(iter(slow.app.state.server.models)).llm
    assert not events(slow, "/v1/completions", prompt=PROMPT[:4])[-1].get("error")
    assert llm._loop.load().running_requests == 0
