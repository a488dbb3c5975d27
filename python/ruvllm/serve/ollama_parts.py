"""The parts of an answer as Ollama's clients read them, and what it took.

A stream is of the same pieces as the answer in one: a text, or a thought, or calls, each call whole.
"""

import time
from collections.abc import Awaitable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Literal, TypeVar

from ruvllm.outputs import Chunk, Timings, Usage
from ruvllm.serve.answer_reading import AnswerReader
from ruvllm.serve.logprobs import ChatLogprobs
from ruvllm.text.response import CallEnded, Content, Part, Reasoning, object_in

__all__ = ["Clock", "Ollama", "Said", "Sayings", "all_said", "timestamp"]

Result = TypeVar("Result")
NANOSECONDS = 1_000_000_000


def timestamp(seconds: float) -> str:
    """A time of the Unix clock as Ollama writes it.

    >>> timestamp(0)
    '1970-01-01T00:00:00.000000Z'
    """
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Clock:
    """How long a request takes, from its arrival, and how long of that it waited for its model."""

    def __init__(self) -> None:
        self._began = time.perf_counter_ns()
        self._load_ns = 0

    async def loading(self, work: Awaitable[Result]) -> Result:
        """Wait for the model."""
        began = time.perf_counter_ns()
        result = await work
        self._load_ns = time.perf_counter_ns() - began
        return result

    def durations(self) -> dict[str, int]:
        """What is known without an answer, until now."""
        return {"total_duration": time.perf_counter_ns() - self._began, "load_duration": self._load_ns}

    def figures(self, usage: Usage, timings: Timings) -> dict[str, int]:
        """What an answer counted and took; the prompt's time includes waiting for a place in the engine."""
        answer_seconds = timings.total_seconds - timings.first_token_seconds
        return {
            **self.durations(),
            "prompt_eval_count": usage.prompt_tokens,
            "prompt_eval_duration": round(timings.first_token_seconds * NANOSECONDS),
            "eval_count": usage.completion_tokens,
            "eval_duration": round(answer_seconds * NANOSECONDS),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A piece of an answer."""

    content: str = ""
    thinking: str = ""
    calls: tuple[dict[str, Any], ...] = ()
    logprobs: tuple[dict[str, Any], ...] = ()


def all_said(pieces: Iterable[Said]) -> Said:
    """The pieces as one."""
    pieces = list(pieces)
    return Said(
        content="".join(one.content for one in pieces),
        thinking="".join(one.thinking for one in pieces),
        calls=tuple(call for one in pieces for call in one.calls),
        logprobs=tuple(entry for one in pieces for entry in one.logprobs),
    )


class Sayings:
    """What an answer says, piece by piece.

    `reader` tells the parts of an answer to a conversation apart; without one all is content. The arguments
    of a call are an object there, so a call whose arguments are none is told as content.
    """

    def __init__(self, reader: AnswerReader | None, logprobs: ChatLogprobs | None) -> None:
        self._reader = reader
        self._logprobs = logprobs
        self._num_told = 0

    def of(self, chunks: Sequence[Chunk]) -> list[Said]:
        """What some pieces come to."""
        said = [one for part in self._parts(chunks) for one in self._said(part)]
        if chunks[-1].finish_reason is not None and self._reader is not None:
            said += self._calls(len(self._reader.calls))
        if self._logprobs is not None and (entries := tuple(self._logprobs.body(chunks)["content"])):
            said.append(Said(logprobs=entries))
        return said

    def _parts(self, chunks: Sequence[Chunk]) -> Sequence[Part]:
        if self._reader is not None:
            return self._reader.read(chunks)
        text = "".join(chunk.text for chunk in chunks)
        return [Content(text)] if text else []

    def _said(self, part: Part) -> Iterator[Said]:
        if isinstance(part, Content):
            yield Said(content=part.text)
        elif isinstance(part, Reasoning):
            yield Said(thinking=part.text)
        elif isinstance(part, CallEnded):
            yield from self._calls(part.index + 1)

    def _calls(self, end: int) -> Iterator[Said]:
        """The calls before `end` that were not told yet."""
        assert self._reader is not None  # noqa: S101 - only a reader finds calls
        for index, call in enumerate(self._reader.calls[self._num_told : end], self._num_told):
            self._num_told += 1
            values = object_in(call.arguments)
            if values is None:
                yield Said(content=f"{call.name}: {call.arguments}")
            else:
                function = {"index": index, "name": call.name, "arguments": values}
                yield Said(calls=({"id": call.id, "function": function},))


class Ollama:
    """One answer on its way, in the words of `/api/chat` or `/api/generate`."""

    def __init__(self, model: str, kind: Literal["chat", "generate"]) -> None:
        self._kind = kind
        self._head = {"model": model, "created_at": timestamp(time.time())}

    def piece(self, said: Said) -> dict[str, Any]:
        """A piece."""
        return {**self._head, **self._told(said), "done": False}

    def whole(self, said: Said, reason: str, figures: dict[str, int]) -> dict[str, Any]:
        """The last piece, or all in one."""
        return {**self._head, **self._told(said), "done": True, "done_reason": reason, **figures}

    def _told(self, said: Said) -> dict[str, Any]:
        more: dict[str, Any] = {"thinking": said.thinking} if said.thinking else {}
        beside = {"logprobs": list(said.logprobs)} if said.logprobs else {}
        if said.calls:
            more["tool_calls"] = list(said.calls)
        if self._kind == "generate":
            return {"response": said.content, **more, **beside}
        return {"message": {"role": "assistant", "content": said.content, **more}, **beside}
