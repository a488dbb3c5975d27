"""With whom a chat is: a model that is loaded here (`local_partner`), or one behind a server."""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

from ruvllm.chat.session import ChatStream
from ruvllm.cli.options import SamplingOptions
from ruvllm.text.messages import Message, MessageLike

if TYPE_CHECKING:
    from ruvllm.cli.streaming import Chunks
    from ruvllm.text.response import ResponseParser

__all__ = ["MAX_TOKENS", "Agrees", "Partner", "Talk"]

MAX_TOKENS = 1024
"""The longest answer of a chat where nobody says otherwise."""

Agrees = Callable[[str], bool]
"""Asks whoever sits there a question that is answered with yes or no."""


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

    def restore(self, history: Sequence[MessageLike]) -> None:
        """Go on from what was said elsewhere."""


class Partner(Protocol):
    """Who answers."""

    @property
    def conversation(self) -> Talk:
        """What is said; another one after `change_model`."""

    @property
    def title(self) -> str:
        """Who it is, for the first line."""

    @property
    def model(self) -> str:
        """The name by which the model can be had again."""

    @property
    def sampling(self) -> SamplingOptions:
        """How answers are made."""

    def parser(self, chunks: "Chunks") -> "ResponseParser | None":
        """What tells the thoughts of an answer from the rest; `None` where there are none."""

    def parser_of_last(self) -> "ResponseParser | None":
        """The same for the answer that the history ends with."""

    def set_sampling(self, sampling: SamplingOptions, name: str, *, is_given: bool) -> None:
        """Make answers otherwise from here on: `name` is the choice that was made, or taken back."""

    def recommended(self) -> str:
        """What holds because it is recommended of the model and nobody said otherwise; empty of nothing."""

    def unsaid(self) -> Collection[str]:
        """Choices about which nothing is said, so that a server makes them."""

    def models(self, *, within_seconds: float | None = None) -> list[str]:
        """Names of models that are at hand; whoever must be asked for them may be silent so long."""

    def others(self) -> list[str]:
        """Short names of models that would be fetched first."""

    def change_model(self, name: str, agrees: Agrees) -> None:
        """Go on with another model; what was said stays."""

    def memory(self) -> Iterable[tuple[str, str]]:
        """Lines for `/stats`."""

    def print_json(self, question: str) -> None:
        """Ask, and print the answer for programs."""
