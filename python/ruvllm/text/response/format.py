"""`ResponseFormat`: how a model writes what it thinks and whom it calls."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ruvllm.grammar import Grammar
from ruvllm.text.response.lark import JSON_KINDS, LarkWriter
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

    def keep_special(self, *, with_calls: bool) -> tuple[str, ...]:
        """The control tokens that an answer's text must show, so that its parser finds thoughts and calls."""
        if with_calls or isinstance(self.calls, ChannelCalls):
            return tuple(self.special)
        around = f"{self.reasons.opening} {self.reasons.closing}" if self.reasons else ""
        return tuple(mark for mark in self.special if mark in around)

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
        fenced = (syntax.fenced or ()) if isinstance(syntax, JsonCalls) else ()
        return tuple(
            dict.fromkeys(text.strip() for text in found if text.strip() and text not in (*fields, *fenced))
        )

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
        content: Grammar | None = None,
    ) -> str:
        """The grammar of answers, in llguidance's Lark.

        Under the choice `auto` an answer may say anything, or what `content` says, and what opens a call
        makes one; under `required` it is calls, and under a name one call of that tool.
        """
        writer = LarkWriter(self.calls, self.reasons, self.special, content)
        several = parallel and self.parallel and choice.kind != "named"
        return writer.grammar(tools, choice, parallel=several, thinking_open=thinking_open)

    def grammar(
        self,
        tools: Sequence[ToolDefinition],
        choice: ToolChoice,
        *,
        parallel: bool = True,
        thinking_open: bool = False,
        content: Grammar | None = None,
    ) -> Grammar | None:
        """The same as a request's grammar; where nothing may be called, it is that of the content."""
        if not tools or choice.kind == "none":
            return None if content is None else self._after_thoughts(content, thinking_open=thinking_open)
        return Grammar.lark(self.lark(tools, choice, parallel, thinking_open=thinking_open, content=content))

    def _after_thoughts(self, content: Grammar, *, thinking_open: bool) -> Grammar:
        """The grammar of an answer's content, with room for thoughts before it where the family has some."""
        if content.after is not None:
            return content
        if isinstance(self.calls, ChannelCalls):
            return content.starting_after(f"{self.calls.channel}final{self.calls.message}")
        if self.reasons is None:
            return content
        if thinking_open:
            return content.starting_after(self.reasons.closing)
        if content.kind not in JSON_KINDS:
            return content
        return Grammar.lark(LarkWriter(self.calls, self.reasons, self.special, content).content())

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
