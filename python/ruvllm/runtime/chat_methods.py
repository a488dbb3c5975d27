"""Answers to conversations, told apart into what is said, thought and called. `LLM` has these methods."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypedDict

from ruvllm.errors import GrammarError
from ruvllm.grammar import Grammar
from ruvllm.outputs import Completion
from ruvllm.params import GenerateKeywords, GenerateParams
from ruvllm.runtime.generations import Generations
from ruvllm.runtime.grammars import compiled, strict_fault
from ruvllm.runtime.request import Terms
from ruvllm.runtime.text_methods import TextMethods
from ruvllm.text.messages import MessageLike
from ruvllm.text.response import (
    CallArguments,
    CallBegan,
    Content,
    Part,
    Reasoning,
)
from ruvllm.text.tokenizer import encode_rendered
from ruvllm.tools import ToolCall, ToolChoice, ToolChoiceLike, ToolDefinition, ToolLike, check_tools

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ruvllm.adapters.registry import AdapterChoice

__all__ = ["ChatKeywords", "ChatMethods", "ToolKeywords"]


class ToolKeywords(TypedDict, total=False):
    """What a call of `chat` may say of tools.

    Attributes:
        tools: What may be called.
        tool_choice: `auto`, `none`, `required` or the tool that must be called.
        parallel_tool_calls: Whether an answer may have several calls.
    """

    tools: Sequence[ToolLike]
    tool_choice: ToolChoiceLike
    parallel_tool_calls: bool


class ChatKeywords(GenerateKeywords, ToolKeywords, total=False):
    """The keywords of `chat`: how the answer is made, and what may be called."""


class ChatMethods(TextMethods):
    """Conversations with the model in `_open`."""

    @property
    def _generations(self) -> Generations:
        raise NotImplementedError

    def _terms(self, tenant: str = "", priority: int = 0, adapter: "AdapterChoice" = None) -> Terms:
        raise NotImplementedError

    def chat(
        self,
        messages: str | Sequence[MessageLike],
        params: GenerateParams | None = None,
        *,
        tenant: str = "",
        priority: int = 0,
        adapter: "AdapterChoice" = None,
        **keywords: "Unpack[ChatKeywords]",
    ) -> Completion:
        """Answer a conversation; a lone text is the user's message.

            llm.chat([{"role": "user", "content": "Hello"}], temperature=0).text

        With `tools` the answer's `tool_calls` are what the model calls, and `tool_choice="required"` makes it
        call; `params.grammar`, of JSON, then says what an answer is that calls nothing. What it thinks is in
        `reasoning`; neither is in `text`.

        Args:
            messages: Each with `role` and `content`; calls and results of tools as OpenAI's clients do it.
            params: As for `generate`.
            tenant: As for `generate`.
            priority: As for `generate`.
            adapter: As for `generate`.
            **keywords: What `params` are to be other in, as for `generate`; and `tools`, `tool_choice` and
                `parallel_tool_calls`, see `ToolKeywords`.
        """
        of_tools = ToolKeywords.__annotations__
        changes = {name: value for name, value in keywords.items() if name not in of_tools}
        params = GenerateParams.of(params, changes, beside=tuple(of_tools))
        choice = ToolChoice.of(keywords.get("tool_choice"))
        tools = check_tools(keywords.get("tools", ()), choice)
        tools = () if choice.kind == "none" else tools
        rendered = self.render_chat(messages, tools=tools)
        thinking_open = self.response_format.thinking_open(rendered.text)
        shown = self.response_format.keep_special(with_calls=bool(tools))
        params = replace(params, keep_special=shown)
        parallel = keywords.get("parallel_tool_calls", True)
        grammar = self.response_format.grammar(
            tools, choice, parallel=parallel, thinking_open=thinking_open, content=params.grammar
        )
        params = self._held(params, grammar, tools)
        generations = self._generations
        tokens = encode_rendered(self._required_tokenizer(), rendered)
        task = generations.prompt_task(tokens, params, self._terms(tenant, priority, adapter))
        return self._told_apart(generations.begin(task).completion(), tools, thinking_open=thinking_open)

    def _held(
        self, params: GenerateParams, grammar: Grammar | None, tools: tuple[ToolDefinition, ...]
    ) -> GenerateParams:
        """The same parameters with the grammar, which is compiled: the error says whose schema is refused."""

        def check(grammar: Grammar) -> None:
            compiled(self._open, grammar)

        if grammar is not None and tools:
            try:
                check(grammar)
            except GrammarError:
                if (fault := strict_fault(check, tools)) is None:
                    raise
                tool, error = fault
                message = f"the parameters of the tool {tool.name!r}: {error.message}"
                raise GrammarError(message, pointer=error.pointer) from error
        return replace(params, grammar=grammar)

    def _told_apart(
        self, completion: Completion, tools: tuple[ToolDefinition, ...], *, thinking_open: bool
    ) -> Completion:
        """The answer with thoughts and calls in their places."""
        parser = self.response_format.parser(thinking_open=thinking_open, tools=tools)
        parts = [*parser.feed(completion.text), *parser.end(completion.finish_reason)]
        reasoning = "".join(part.text for part in parts if isinstance(part, Reasoning))
        return replace(
            completion,
            text="".join(part.text for part in parts if isinstance(part, Content)),
            reasoning=reasoning or None,
            tool_calls=tuple(_calls(parts)),
        )


def _calls(parts: Sequence[Part]) -> list[ToolCall]:
    calls: list[ToolCall] = []
    for part in parts:
        if isinstance(part, CallBegan):
            calls.append(ToolCall(id=part.id, name=part.name, arguments=""))
        elif isinstance(part, CallArguments):
            calls[-1] = replace(calls[-1], arguments=calls[-1].arguments + part.fragment)
    return calls
