"""What was said in a chat. Pure: no model and no terminal."""

import json
from pathlib import Path

from ruvllm.errors import IoError

__all__ = ["Conversation"]

Message = dict[str, str]


class Conversation:
    """A system prompt, and questions and answers by turns."""

    def __init__(self, system: str | None = None) -> None:
        self.system = system or None
        self._turns: list[Message] = []

    def __len__(self) -> int:
        return len(self._turns)

    @property
    def messages(self) -> list[Message]:
        """What the model is sent."""
        first = [{"role": "system", "content": self.system}] if self.system else []
        return [*first, *self._turns]

    def ask(self, question: str) -> None:
        """Add the user's turn."""
        self._turns.append({"role": "user", "content": question})

    def answer(self, text: str) -> None:
        """Add the model's turn."""
        self._turns.append({"role": "assistant", "content": text})

    def drop_answer(self) -> bool:
        """Take the last answer back, so that it can be asked for again; false where nothing was asked."""
        if self._turns and self._turns[-1]["role"] == "assistant":
            self._turns.pop()
        return bool(self._turns)

    def drop_question(self) -> None:
        """Take an unanswered question back."""
        if self._turns and self._turns[-1]["role"] == "user":
            self._turns.pop()

    def clear(self) -> None:
        """Forget all turns; the system prompt stays."""
        self._turns.clear()

    def save(self, path: Path) -> None:
        """Write the messages as JSON."""
        try:
            path.write_text(
                json.dumps({"messages": self.messages}, ensure_ascii=False, indent=2) + "\n", "utf-8"
            )
        except OSError as error:
            raise IoError(f"cannot write {str(path)!r}: {error.strerror or error}") from error
