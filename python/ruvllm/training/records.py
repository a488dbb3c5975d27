"""Examples as they are written down: a line of JSON each, or the same in memory.

    {"messages": [{"role": "user", "content": ..}, {"role": "assistant", "content": ..}, ..]}
    {"prompt": .., "completion": ..}
    {"prompt": .., "chosen": .., "rejected": ..}

A prompt is a text or messages, an answer a text. Other keys are left alone, but for `quality`. A line that
is none of these is refused, with its number and the reason, and with it all of the file: nobody wants to find
out after an hour that half of the data was not there.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from ruvllm.errors import IoError, RuvLLMError, TokenizationError, TrainingError
from ruvllm.text.messages import Message, check_messages
from ruvllm.training.values import TokenSample, TrainingSample
from ruvllm.whole_file import open_regular

__all__ = ["Conversation", "Data", "Preference", "Record", "TokenRecord", "complain", "read_records"]

# A line of this file's size is no example.
MAX_LINE_BYTES = 16 * 1024**2
TOLD = 10
_SHAPES = (
    '"messages", or "prompt" and "completion", or "prompt", "chosen" and "rejected"; '
    "docs/training.md has examples"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """Messages, of which the assistant's are learned.

    Attributes:
        where: The file and the line, or the place in a list.
        messages: All, checked.
        plain: Question and answer as texts, where nothing else was given: for a model without a template.
        quality: Where it is told.
    """

    where: str
    messages: list[Message]
    plain: tuple[str, str] | None = None
    quality: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Preference:
    """Two answers, of which the first is the better one."""

    where: str
    chosen: Conversation
    rejected: Conversation


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRecord:
    """An answer in tokens, which no template has to find."""

    where: str
    sample: TokenSample

    @property
    def quality(self) -> float:
        """As it was told."""
        return self.sample.quality


Record: TypeAlias = Conversation | Preference | TokenRecord
Data: TypeAlias = str | os.PathLike[str] | Iterable[Mapping[str, Any] | TrainingSample | TokenSample]


class _Wrong(Exception):  # noqa: N818 - it never leaves this module
    """Why a line is no example."""


def read_records(data: Data) -> list[Record]:
    """All examples of a file or of a list; `TrainingError` names every one that cannot be read, and why."""
    if isinstance(data, str | os.PathLike):
        name = os.fspath(data)
        places: Iterator[tuple[str, Any]] = ((f"{name}:{n}", line) for n, line in _lines(name))
    elif isinstance(data, Iterable):
        name = "the data"
        places = ((f"example {n}", one) for n, one in enumerate(data))
    else:
        raise TrainingError(f"the data is a {type(data).__name__}; give a file of JSON lines, or a list")
    records: list[Record] = []
    reasons: list[str] = []
    for where, given in places:
        try:
            records.append(_record(where, given))
        except _Wrong as wrong:
            reasons.append(f"{where}: {wrong}")
    complain(reasons)
    if not records:
        raise TrainingError(f"{name} has no examples")
    return records


def complain(reasons: Sequence[str]) -> None:
    """Raise `TrainingError` with the first of the reasons, where there are some."""
    if reasons:
        more = f"; and {len(reasons) - TOLD} more" if len(reasons) > TOLD else ""
        raise TrainingError("; ".join(reasons[:TOLD]) + more)


def _lines(path: str) -> Iterator[tuple[int, bytes]]:
    """The lines of a file that are not empty, with their numbers."""
    try:
        with open_regular(path) as file:
            number = 0
            while line := file.readline(MAX_LINE_BYTES + 1):
                number += 1
                if len(line) > MAX_LINE_BYTES:
                    raise TrainingError(f"{path}:{number}: it has more than {MAX_LINE_BYTES} bytes")
                if line.strip():
                    yield number, line
    except OSError as error:
        raise IoError(f"{path} cannot be read: {error.strerror or error}") from error


def _record(where: str, given: Any) -> Record:
    if isinstance(given, TrainingSample):
        return _of_sample(where, given)
    if isinstance(given, TokenSample):
        return TokenRecord(where=where, sample=given)
    value = _parsed(given) if isinstance(given, bytes) else given
    if not isinstance(value, Mapping):
        raise _Wrong(f"it is {_kind(value)}; it must be an object with {_SHAPES}")
    quality = _quality(value)
    if "messages" in value:
        messages = _messages("messages", value["messages"])
        if not any(one["role"] == "assistant" for one in messages):
            raise _Wrong("no message is the assistant's, so there is nothing to learn")
        return Conversation(where=where, messages=messages, quality=quality)
    if "prompt" in value and "completion" in value:
        return _answered(where, value, "completion", quality)
    if "prompt" in value and "chosen" in value and "rejected" in value:
        chosen = _answered(where, value, "chosen", quality)
        return Preference(where=where, chosen=chosen, rejected=_answered(where, value, "rejected", quality))
    found = ", ".join(repr(str(key)[:40]) for key in list(value)[:TOLD]) or "nothing"
    raise _Wrong(f"it has {found}; it must have {_SHAPES}")


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise _Wrong(f"byte {error.start + 1} is no UTF-8") from None
    except json.JSONDecodeError as error:
        raise _Wrong(f"it is no JSON: {error.msg} at character {error.pos + 1}") from None
    except RecursionError:
        raise _Wrong("it is nested too deep") from None


def _of_sample(where: str, sample: TrainingSample) -> Conversation:
    if sample.query is None or sample.response is None:
        missing = "query" if sample.query is None else "response"
        raise _Wrong(f"the sample has no {missing}, and an embedding alone cannot be trained on")
    value = {"prompt": sample.query, "completion": sample.response}
    return _answered(where, value, "completion", sample.quality)


def _answered(where: str, value: Mapping[str, Any], answer: str, quality: float | None) -> Conversation:
    """A prompt and one of its answers."""
    prompt, said = value["prompt"], _answer(answer, value[answer])
    asked = _messages("prompt", prompt)
    if asked[-1]["role"] == "assistant":
        raise _Wrong("the last message of the prompt is the assistant's; the answer must follow a question")
    return Conversation(
        where=where,
        messages=[*asked, {"role": "assistant", "content": said}],
        plain=(prompt, said) if isinstance(prompt, str) else None,
        quality=quality,
    )


def _answer(name: str, value: Any) -> str:
    """An answer: a text, or the one message that it is."""
    if not isinstance(value, str):
        messages = _messages(name, value)
        if len(messages) != 1 or messages[0]["role"] != "assistant":
            raise _Wrong(f"{name} has {len(messages)} messages; it must be a text, or one of the assistant's")
        value = messages[0]["content"]
    if not value:
        raise _Wrong(f"{name} is empty, so there is nothing to learn")
    return str(value)


def _messages(name: str, value: Any) -> list[Message]:
    try:
        messages = check_messages(value)
    except TokenizationError as error:
        raise _Wrong(f"{name}: {_words(error)}") from None
    for index, message in enumerate(messages):
        if message["role"] == "assistant" and not str(message["content"]).strip():
            raise _Wrong(f"{name}: message {index} is the assistant's and empty")
    return messages


def _quality(value: Mapping[str, Any]) -> float | None:
    quality = value.get("quality")
    if quality is None:
        return None
    if isinstance(quality, bool) or not isinstance(quality, int | float) or not 0 <= quality <= 1:
        raise _Wrong(f"quality is {quality!r:.40}; it must be a number from 0 to 1")
    return float(quality)


def _words(error: RuvLLMError) -> str:
    return error.message.removeprefix(f"{error.prefix}: ")


def _kind(value: object) -> str:
    names = {"dict": "an object", "list": "a list", "str": "a text", "NoneType": "null"}
    return names.get(type(value).__name__, f"a {type(value).__name__}")
