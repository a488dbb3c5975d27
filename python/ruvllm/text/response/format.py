"""`ResponseFormat`: how a model writes what it thinks and whom it calls."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ruvllm.grammar import Grammar
from ruvllm.text.response.lark import LarkWriter
from ruvllm.text.response.parser import IdRule, ResponseParser
from ruvllm.text.response.syntax import CallSyntax, ChannelCalls, JsonCalls, Reasons
from ruvllm.tools import ToolChoice, ToolDefinition

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
        native: Whether the model's template tells of tools, and writes calls, in this format itself.
        special: The control tokens among the format's marks, with their ids, in this model's vocabulary.
    """

    name: str
    calls: CallSyntax
    reasons: Reasons | None = None
    ids: IdRule = "call"
    parallel: bool = True
    native: bool = True
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

    def lark(
        self,
        tools: Sequence[ToolDefinition],
        choice: ToolChoice,
        parallel: bool = True,  # noqa: FBT001, FBT002 - as requests have it
        *,
        thinking_open: bool = False,
    ) -> str:
        """The grammar of answers, in llguidance's Lark.

        Under the choice `auto` an answer may say anything, and what opens a call makes one; under `required`
        it is calls, and under a name one call of that tool.
        """
        writer = LarkWriter(self.calls, self.reasons, self.special)
        several = parallel and self.parallel and choice.kind != "named"
        return writer.grammar(tools, choice, parallel=several, thinking_open=thinking_open)

    def grammar(
        self,
        tools: Sequence[ToolDefinition],
        choice: ToolChoice,
        *,
        parallel: bool = True,
        thinking_open: bool = False,
    ) -> Grammar | None:
        """The same as a request's grammar; `None` where nothing may be called."""
        if not tools or choice.kind == "none":
            return None
        return Grammar.lark(self.lark(tools, choice, parallel, thinking_open=thinking_open))

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
