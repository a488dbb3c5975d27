"""Answers told apart: what is content, what the model thought, and whom it called.

The one place in the server where a model's text is parsed. Each API writes the parts in its own way.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ruvllm.grammar import Grammar
from ruvllm.outputs import Chunk, FinishReason
from ruvllm.serve.asked_model import AskedModel
from ruvllm.serve.conversation import Conversation
from ruvllm.serve.tool_use import ToolUse
from ruvllm.text.response import (
    CallArguments,
    CallBegan,
    CallEnded,
    Content,
    Part,
    Reasoning,
    ResponseFormat,
)
from ruvllm.tools import ToolCall

__all__ = ["AnswerReader", "Reading", "reading_of"]

# The mark that opens thoughts stands in so many of a prompt's last tokens, if it stands at its end.
TAIL_TOKENS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How the answers to a conversation are read.

    Attributes:
        response_format: How the model writes.
        thinking_open: Whether the prompt has opened what the model thinks.
        use: The tools.
    """

    response_format: ResponseFormat
    thinking_open: bool
    use: ToolUse

    @property
    def keep_special(self) -> tuple[str, ...]:
        """The control tokens that the answer's text must show, so that it can be read."""
        return self.response_format.keep_special(with_calls=bool(self.use.tools))

    def grammar(self, content: Grammar | None = None) -> Grammar | None:
        """What an answer must be that is calls, or else `content`; `None` where it may be anything.

        What a model may or may not call, it calls as it can.
        """
        use = self.use
        if content is None and not use.is_held:
            return None
        return self.response_format.grammar(
            use.tools, use.choice, parallel=use.parallel, thinking_open=self.thinking_open, content=content
        )

    def reader(self) -> "AnswerReader":
        """A reader for one answer."""
        return AnswerReader(self)


def reading_of(model: AskedModel, token_ids: Sequence[int], conversation: Conversation) -> Reading:
    """How the answers to a prompt are to be read."""
    llm = model.llm
    beginning = conversation.messages[-1]["content"] if conversation.continues_last else ""
    tail = llm.detokenize(token_ids[-TAIL_TOKENS:]) if token_ids else ""
    return Reading(
        response_format=llm.response_format,
        thinking_open=llm.response_format.thinking_open(tail, beginning=beginning),
        use=conversation.use,
    )


class AnswerReader:
    """One answer, piece by piece, and what it came to so far."""

    def __init__(self, reading: Reading) -> None:
        self._use = reading.use
        self._parser = reading.response_format.parser(
            thinking_open=reading.thinking_open, tools=reading.use.tools
        )
        self._calls: list[_Call] = []
        self._ids: set[str] = set()
        self._content: list[str] = []
        self._reasoning: list[str] = []
        self._finish_reason: FinishReason | None = None
        self.reasoning_tokens = 0

    def read(self, chunks: Sequence[Chunk]) -> list[Part]:
        """The parts that some pieces bring; the last of them ends the answer."""
        parts: list[Part] = []
        for chunk in chunks:
            found = self._parser.feed(chunk.text) if chunk.text else []
            if found and all(isinstance(part, Reasoning) for part in found):
                self.reasoning_tokens += len(chunk.token_ids)
            if chunk.finish_reason is not None:
                found += self._parser.end(chunk.finish_reason)
                self._finish_reason = chunk.finish_reason
            parts += found
        return [part for part in map(self._taken, parts) if part is not None]

    @property
    def content(self) -> str:
        """What was said."""
        return "".join(self._content)

    @property
    def reasoning(self) -> str:
        """What was thought."""
        return "".join(self._reasoning)

    @property
    def calls(self) -> list[ToolCall]:
        """What was called, in order; of an answer that was cut off, the last one may be a part."""
        return [ToolCall(id=one.id, name=one.name, arguments="".join(one.arguments)) for one in self._calls]

    @property
    def finish_reason(self) -> str | None:
        """Why the answer ended, as OpenAI's clients want it: one that calls tools waits for their results."""
        return "tool_calls" if self._finish_reason == "stop" and self._calls else self._finish_reason

    def _taken(self, part: Part) -> Part | None:
        """The part, kept; nothing where it belongs to a call that does not count."""
        if isinstance(part, Content):
            self._content.append(part.text)
        elif isinstance(part, Reasoning):
            self._reasoning.append(part.text)
        elif part.index and not self._use.parallel:
            return None
        elif isinstance(part, CallBegan):
            if part.id in self._ids:  # a model that writes ids may repeat one
                part = replace(part, id=f"{part.id}_{part.index}")
            self._ids.add(part.id)
            self._calls.append(_Call(part.id, part.name, []))
        elif isinstance(part, CallArguments):
            self._calls[part.index].arguments.append(part.fragment)
        else:
            assert isinstance(part, CallEnded)  # noqa: S101 - there are no others
        return part


@dataclass(slots=True)
class _Call:
    id: str
    name: str
    arguments: list[str]
