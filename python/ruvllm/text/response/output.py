"""What a parser has made so far: parts in order, white space between tags left out, calls counted."""

from collections.abc import Callable

from ruvllm.text.response.parts import CallArguments, CallBegan, CallEnded, Content, Part, Reasoning

__all__ = ["Output"]


class _Trimmed:
    """A text without the white space at its ends, given on as it comes."""

    def __init__(self, emit: Callable[[str], None], *, from_begin: bool) -> None:
        self._emit = emit
        self._held: list[str] = []
        self._at_begin = from_begin

    def add(self, piece: str) -> None:
        if self._at_begin:
            piece = piece.lstrip()
        if shown := piece.rstrip():
            self._emit("".join(self._held) + shown)
            self._held.clear()
            self._at_begin = False
        if len(shown) < len(piece):
            self._held.append(piece[len(shown) :])

    def begin_anew(self) -> None:
        """Leave out the white space here and what follows of it."""
        self._held.clear()
        self._at_begin = True

    def flush(self) -> None:
        """White space at the end of everything belongs to it."""
        if self._held:
            self._emit("".join(self._held))
            self._held.clear()


class Output:
    """The parts of an answer."""

    def __init__(self, new_id: Callable[[], str]) -> None:
        self._new_id = new_id
        self._parts: list[Part] = []
        # Pieces of the part that is being made, and what makes it of them.
        self._pieces: list[str] = []
        self._made_by: Callable[[str], Part] = Content
        self._content = _Trimmed(self._add_content, from_begin=False)
        self._reasoning = _Trimmed(self._add_reasoning, from_begin=True)
        self._reasoned = False
        self._calls = 0

    @property
    def calls(self) -> int:
        """How many calls have begun."""
        return self._calls

    def take(self) -> list[Part]:
        """The parts since the last time."""
        self._join()
        parts, self._parts = self._parts, []
        return parts

    def content(self, text: str) -> None:
        """Text for the reader."""
        self._content.add(text)

    def reasoning(self, text: str) -> None:
        """Text that the model thinks."""
        self._reasoning.add(text)

    def begin_reasoning(self) -> None:
        """White space around it is nobody's; two of them stand in two lines."""
        self._reasoning.begin_anew()
        self._content.begin_anew()

    def end_reasoning(self) -> None:
        """The same at its end."""
        self._reasoning.begin_anew()
        self._content.begin_anew()
        if self._reasoned:
            self._reasoning = _Trimmed(self._add_further_reasoning, from_begin=True)

    def begin_call(self, name: str, call_id: str = "") -> None:
        """A call whose name is known."""
        self._content.begin_anew()
        self._join()
        self._parts.append(CallBegan(self._calls, call_id or self._new_id(), name))
        self._calls += 1

    def arguments(self, fragment: str) -> None:
        """More of the last call's arguments."""
        if fragment:
            self._add(self._call_arguments, fragment)

    def end_call(self) -> None:
        """The last call is whole."""
        self._join()
        self._parts.append(CallEnded(self._calls - 1))

    def end(self) -> None:
        """Nothing follows."""
        self._content.flush()

    def _add_content(self, text: str) -> None:
        self._add(Content, text)

    def _add_reasoning(self, text: str) -> None:
        self._reasoned = True
        self._add(Reasoning, text)

    def _add_further_reasoning(self, text: str) -> None:
        self._reasoning = _Trimmed(self._add_reasoning, from_begin=False)
        self._add_reasoning("\n" + text)

    def _call_arguments(self, text: str) -> Part:
        return CallArguments(self._calls - 1, text)

    def _add(self, made_by: Callable[[str], Part], text: str) -> None:
        """More of a part of this kind; pieces that came together are one part."""
        if made_by != self._made_by:
            self._join()
            self._made_by = made_by
        self._pieces.append(text)

    def _join(self) -> None:
        if self._pieces:
            self._parts.append(self._made_by("".join(self._pieces)))
            self._pieces.clear()
