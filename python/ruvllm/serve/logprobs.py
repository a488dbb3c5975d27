"""Logprobs as clients get them: with the text and the bytes of each token, in step with the text.

A token's entry leaves with the text that it made. What a stop sequence cut off, and the token that ended an
answer, made none: their entries are dropped, so that the bytes of all entries are the bytes of the text.
"""

from collections import deque
from collections.abc import Iterable
from typing import Any

from ruvllm.llm import LLM
from ruvllm.outputs import Chunk, TokenLogprob

__all__ = ["ChatLogprobs", "TextLogprobs", "entries_size", "token_name"]

Placed = tuple[TokenLogprob, int]
"""An entry, and the byte of the text at which its token begins."""


# A token with its logprob takes as long as so many characters that become tokens.
ENTRY_SIZE = 32
_LISTS = ("tokens", "token_logprobs", "top_logprobs", "text_offset")


class _Aligner:
    """Holds entries back until their text is out."""

    def __init__(self, llm: LLM) -> None:
        self._llm = llm
        self._held: deque[Placed] = deque()
        self._token_bytes = 0
        self._text_bytes = 0

    def released(self, chunks: Iterable[Chunk]) -> list[Placed]:
        """The entries whose text is out with these pieces."""
        for chunk in chunks:
            for entry in chunk.logprobs or ():
                self._held.append((entry, self._token_bytes))
                self._token_bytes += len(self._llm.token_bytes(entry.token_id))
            self._text_bytes += len(chunk.text.encode())
        out = []
        while self._held and self._held[0][1] < self._text_bytes:
            out.append(self._held.popleft())
        return out


class ChatLogprobs:
    """Entries in the shape of chat completions: `{"content": [...], "refusal": null}`."""

    def __init__(self, llm: LLM) -> None:
        self._llm = llm
        self._aligner = _Aligner(llm)

    def body(self, chunks: Iterable[Chunk]) -> dict[str, Any]:
        """What goes with these pieces."""
        entries = [self._entry(entry) for entry, _ in self._aligner.released(chunks)]
        return {"content": entries, "refusal": None}

    def _entry(self, entry: TokenLogprob) -> dict[str, Any]:
        top = [self._token(token, logprob) for token, logprob in entry.top_logprobs]
        return {**self._token(entry.token_id, entry.logprob), "top_logprobs": top}

    def _token(self, token: int, logprob: float) -> dict[str, Any]:
        return {
            "token": token_name(self._llm, token),
            "logprob": logprob,
            "bytes": list(self._llm.token_bytes(token)),
        }


class TextLogprobs:
    """Entries in the older shape of completions: four lists, and where each token begins in the text."""

    def __init__(self, llm: LLM, *, offset: int = 0) -> None:
        self._llm = llm
        self._aligner = _Aligner(llm)
        self._offset = offset

    def body(self, chunks: Iterable[Chunk]) -> dict[str, list[Any]]:
        """What goes with these pieces."""
        return self.lists([entry for entry, _ in self._aligner.released(chunks)])

    def lists(self, entries: Iterable[TokenLogprob | int]) -> dict[str, list[Any]]:
        """Entries as lists; a bare token id is one without a logprob, such as the first of a prompt."""
        body: dict[str, list[Any]] = {
            "tokens": [],
            "token_logprobs": [],
            "top_logprobs": [],
            "text_offset": [],
        }
        for entry in entries:
            token = entry if isinstance(entry, int) else entry.token_id
            name = token_name(self._llm, token)
            body["tokens"].append(name)
            body["text_offset"].append(self._offset)
            self._offset += len(name)
            body["token_logprobs"].append(None if isinstance(entry, int) else entry.logprob)
            body["top_logprobs"].append(None if isinstance(entry, int) else self._by_name(entry))
        return body

    def _by_name(self, entry: TokenLogprob) -> dict[str, float]:
        by_name: dict[str, float] = {}
        # The likeliest comes first; another token of the same name does not take its place.
        for token, logprob in [*entry.top_logprobs, (entry.token_id, entry.logprob)]:
            by_name.setdefault(token_name(self._llm, token), logprob)
        return by_name


def entries_size(num_tokens: int, top_logprobs: int | None) -> int:
    """How long an answer of so many tokens takes to build and write, in the unit of `off_loop.AT_ONCE`."""
    return num_tokens * (1 if top_logprobs is None else ENTRY_SIZE * (1 + top_logprobs))


def token_name(llm: LLM, token: int) -> str:
    """A token as text: what it adds to one, or its own spelling where it adds nothing."""
    added = llm.token_bytes(token)
    if added:
        return added.decode("utf-8", "replace")
    tokenizer = llm.tokenizer
    return (tokenizer.token_text(token) if tokenizer else None) or ""
