"""`ResponseFormat`: how a model writes what it thinks and whom it calls."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ruvllm.text.response.parser import IdRule, ResponseParser
from ruvllm.text.response.syntax import CallSyntax, ChannelCalls, JsonCalls, Reasons
from ruvllm.tools import ToolDefinition

__all__ = ["ResponseFormat"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseFormat:
    """One description of a family's format: grammar, parser and template check are made of it.

    Attributes:
        name: The family.
        calls: How calls are written.
        reasons: What stands around the model's thoughts; `None` where it does not think aloud.
        ids: What a call's id looks like.
        parallel: Whether the family's models make several calls in an answer.
        special: The control tokens among the format's marks, with their ids, in this model's vocabulary.
    """

    name: str
    calls: CallSyntax
    reasons: Reasons | None = None
    ids: IdRule = "call"
    parallel: bool = True
    special: Mapping[str, int] = field(default_factory=dict, hash=False)

    @property
    def keep_special(self) -> tuple[str, ...]:
        """The control tokens that an answer's text must show, so that it can be parsed."""
        return tuple(self.special)

    @property
    def marks(self) -> tuple[str, ...]:
        """All texts that stand around thoughts, calls and arguments, without white space at their ends."""
        syntax, found = self.calls, list[str]()
        for name in syntax.__slots__:
            value = getattr(syntax, name)
            found += [value] if isinstance(value, str) else value if isinstance(value, tuple) else []
        if self.reasons:
            found += [self.reasons.opening, self.reasons.closing]
        fields = (syntax.name_field, syntax.arguments_field) if isinstance(syntax, JsonCalls) else ()
        return tuple(dict.fromkeys(text.strip() for text in found if text.strip() and text not in fields))

    def parser(
        self, *, thinking_open: bool = False, tools: Sequence[ToolDefinition] | None = None
    ) -> ResponseParser:
        """A parser for one answer; see `ResponseParser`."""
        return ResponseParser(
            self.calls, self.reasons, ids=self.ids, thinking_open=thinking_open, tools=tools
        )

    def thinking_open(self, prompt: str, *, beginning: str = "") -> bool:
        """Whether a prompt ends in what the model thinks.

        `beginning` is the last message's content where the answer goes on from it.
        """
        if self.reasons is None or isinstance(self.calls, ChannelCalls):
            return False
        opening, closing = self.reasons.opening, self.reasons.closing
        if opening in beginning:
            return beginning.rfind(opening) > beginning.rfind(closing)
        return prompt.rstrip().endswith(opening)
