"""Answers to conversations, told apart into what is said, thought and called. `LLM` has these methods."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypedDict

from ruvllm.errors import ConfigError
from ruvllm.outputs import Completion
from ruvllm.params import GenerateParams
from ruvllm.runtime.generations import Generations
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

__all__ = ["ChatMethods", "ToolKeywords"]


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
        **keywords: "Unpack[ToolKeywords]",
    ) -> Completion:
        """Answer a conversation; a lone text is the user's message.

            llm.chat([{"role": "user", "content": "Hello"}]).text

        With `tools` the answer's `tool_calls` are what the model calls, and `tool_choice="required"` makes it
        call. What it thinks is in `reasoning`; neither is in `text`.

        Args:
            messages: Each with `role` and `content`; calls and results of tools as OpenAI's clients do it.
            params: As for `generate`.
            tenant: As for `generate`.
            priority: As for `generate`.
            adapter: As for `generate`.
            **keywords: `tools`, `tool_choice` and `parallel_tool_calls`; see `ToolKeywords`.
        """
        choice = ToolChoice.of(keywords.get("tool_choice"))
        tools = check_tools(keywords.get("tools", ()), choice)
        tools = () if choice.kind == "none" else tools
        rendered = self.render_chat(messages, tools=tools)
        thinking_open = self.response_format.thinking_open(rendered.text)
        if tools:
            params = self._calling(params, tools, choice, thinking_open, keywords)
        generations = self._generations
        tokens = encode_rendered(self._required_tokenizer(), rendered)
        task = generations.prompt_task(tokens, params, self._terms(tenant, priority, adapter))
        return self._told_apart(generations.begin(task).completion(), tools, thinking_open=thinking_open)

    def _calling(
        self,
        params: GenerateParams | None,
        tools: tuple[ToolDefinition, ...],
        choice: ToolChoice,
        thinking_open: bool,  # noqa: FBT001
        keywords: ToolKeywords,
    ) -> GenerateParams:
        """The same parameters, under which what opens a call makes one."""
        params = params or GenerateParams()
        if params.grammar is not None:
            raise ConfigError(
                "an answer with tools has their grammar; leave out params.grammar, or the tools"
            )
        grammar = self.response_format.grammar(
            tools, choice, parallel=keywords.get("parallel_tool_calls", True), thinking_open=thinking_open
        )
        return replace(params, grammar=grammar)

    def _told_apart(
        self, completion: Completion, tools: tuple[ToolDefinition, ...], *, thinking_open: bool
    ) -> Completion:
        """The answer with thoughts and calls in their places."""
        parser = self.response_format.parser(thinking_open=thinking_open, tools=tools)
        parts = [*parser.feed(self._text_with_marks(completion)), *parser.end(completion.finish_reason)]
        reasoning = "".join(part.text for part in parts if isinstance(part, Reasoning))
        return replace(
            completion,
            text="".join(part.text for part in parts if isinstance(part, Content)),
            reasoning=reasoning or None,
            tool_calls=tuple(_calls(parts)),
        )

    def _text_with_marks(self, completion: Completion) -> str:
        """The answer's text, with those control tokens that calls are written with."""
        tokenizer, special = self._required_tokenizer(), self.response_format.special
        if not special or not set(special.values()).intersection(completion.token_ids):
            return completion.text
        ends = tokenizer.end_tokens
        return tokenizer.decode([token for token in completion.token_ids if token not in ends])


def _calls(parts: Sequence[Part]) -> list[ToolCall]:
    calls: list[ToolCall] = []
    for part in parts:
        if isinstance(part, CallBegan):
            calls.append(ToolCall(id=part.id, name=part.name, arguments=""))
        elif isinstance(part, CallArguments):
            calls[-1] = replace(calls[-1], arguments=calls[-1].arguments + part.fragment)
    return calls
