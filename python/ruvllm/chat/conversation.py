"""`Conversation`: what was said, whoever answers: a model here (`ChatSession`) or one behind a server."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from ruvllm.chat import transcript
from ruvllm.chat.transcript import Turn
from ruvllm.errors import SessionError
from ruvllm.outputs import Usage
from ruvllm.text.messages import Message, MessageLike

__all__ = ["Conversation"]


class Conversation:
    """A system prompt and turns; one answer at a time."""

    def __init__(self, system_prompt: str | None) -> None:
        self.system_prompt = system_prompt
        self._turns: list[Turn] = []
        self._dropped = 0
        self._usage = Usage(prompt_tokens=0, completion_tokens=0)
        # Held while an answer is made.
        self._answering = threading.Lock()

    @property
    def history(self) -> list[Message]:
        """All that was said, the system prompt first; turns that are left out of prompts by now included."""
        return transcript.messages_of(self.system_prompt, self._turns)

    @property
    def dropped_turns(self) -> int:
        """How many of the oldest turns the model is not shown any more, as the context is full."""
        return self._dropped

    @property
    def usage(self) -> Usage:
        """Tokens of all answers so far."""
        return self._usage

    def reset(self) -> None:
        """Forget all turns; the system prompt stays, and the usage counts on."""
        self._check_idle()
        self._turns.clear()
        self._dropped = 0

    def undo(self) -> str:
        """Take the last turn back and give its question, so that it can be asked again."""
        self._check_idle()
        if not self._turns:
            raise SessionError("there is no turn to take back")
        question = self._turns.pop().question
        self._dropped = min(self._dropped, len(self._turns))
        return question

    def restore(self, history: Sequence[MessageLike]) -> None:
        """Go on from what was said elsewhere: another session's `history`; what was said here is forgotten.

        The system prompt is the history's, too. `SessionError` for what is no history.
        """
        self._check_idle()
        self.system_prompt, self._turns = transcript.turns_of(history)
        self._dropped = 0

    def _check_idle(self) -> None:
        if self._answering.locked():
            raise SessionError("an answer is being made; read its stream to the end or close it first")

    @contextmanager
    def _begin_answer(self) -> Iterator[Callable[[], None]]:
        """Hold the session for an answer, and give what lets go of it at its end; further calls do nothing.

        What goes wrong in the block lets go of it, also where an answer was made that now ends by itself.
        """
        if not self._answering.acquire(blocking=False):
            raise SessionError("an answer is being made; read its stream to the end or close it first")
        held = [self._answering]

        def let_go() -> None:
            with suppress(IndexError):
                held.pop().release()

        try:
            yield let_go
        except BaseException:
            let_go()
            raise
