"""With whom a chat is: a model that is loaded here, or one behind a server."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from ruvllm.chat.session import ChatStream
from ruvllm.cli import terminal
from ruvllm.cli.streaming import print_answer, print_completion
from ruvllm.text.messages import Message

if TYPE_CHECKING:
    from ruvllm.chat.session import ChatSession
    from ruvllm.client import ServerClient, ServerSession
    from ruvllm.llm import LLM

__all__ = ["Command", "Partner", "Talk"]

Command = tuple[str, Callable[[str], None]]
"""What `/help` says of it, and what does it with the rest of the line."""


class Talk(Protocol):
    """The part of a conversation that a terminal uses: `ChatSession` and `ServerSession` have it."""

    system_prompt: str | None

    @property
    def history(self) -> list[Message]:
        """All that was said."""

    @property
    def dropped_turns(self) -> int:
        """Turns that the model is not shown any more."""

    def stream(self, text: str) -> ChatStream:
        """Ask."""

    def reset(self) -> None:
        """Forget all turns."""

    def undo(self) -> str:
        """Take the last turn back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Partner:
    """Who answers.

    Attributes:
        conversation: What is said.
        name: Who it is, for the first line.
        memory: Lines for `/stats`.
        print_json: Asks, and prints the answer for programs.
        commands: Commands that only this one has, by name.
    """

    conversation: Talk
    name: str
    memory: Callable[[], Iterable[tuple[str, str]]]
    print_json: Callable[[str], None]
    commands: Mapping[str, Command] = field(default_factory=dict)

    @classmethod
    def here(cls, session: "ChatSession", llm: "LLM", name: str) -> "Partner":
        """A model in this process."""

        def memory() -> list[tuple[str, str]]:
            stats = llm.memory_stats()
            used, total = terminal.size(stats.kv_used_bytes), terminal.size(stats.kv_total_bytes)
            return [
                ("weights", terminal.size(stats.weight_bytes)),
                ("key-value cache", f"{used} of {total}"),
                ("process", terminal.size(stats.resident_bytes)),
            ]

        return cls(
            conversation=session,
            name=name,
            memory=memory,
            print_json=lambda question: print_completion(session.send(question)),
        )

    @classmethod
    def behind(cls, session: "ServerSession", server: "ServerClient") -> "Partner":
        """A model of a server."""

        def model(name: str) -> None:
            if name:
                session.model = name
            names = ", ".join(offered.name for offered in server.models())
            terminal.note(f"model: {session.model}; the server has {names}")

        return cls(
            conversation=session,
            name=f"{session.model} at {server.address.root}",
            memory=lambda: [("memory", "not known here: it is the server's")],
            print_json=lambda question: print_answer(session.stream(question)),
            commands={"/model": ("[NAME] show the server's models, or go on with another", model)},
        )
