"""Answers to conversations, told apart into what is said, thought and called. `LLM` has these methods."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypedDict, cast, overload

from ruvllm.errors import GrammarError
from ruvllm.grammar import Grammar
from ruvllm.hub import Recommended
from ruvllm.outputs import Completion
from ruvllm.params import TERMS_KEYWORDS, GenerateKeywords, GenerateParams, ManyParams, ParamsLike
from ruvllm.runtime.answering import Answering
from ruvllm.runtime.gathering import made_of_each
from ruvllm.runtime.generations import Generations
from ruvllm.runtime.grammars import compiled, strict_fault
from ruvllm.runtime.prompts import prompts_of
from ruvllm.runtime.request import Terms
from ruvllm.runtime.text_methods import TextMethods
from ruvllm.text.messages import MessageLike, check_messages
from ruvllm.text.response import (
    CallArguments,
    CallBegan,
    Content,
    Part,
    Reasoning,
    ResponseParser,
)
from ruvllm.tools import ToolCall, ToolChoice, ToolChoiceLike, ToolDefinition, ToolLike, check_tools

if TYPE_CHECKING:
    from typing_extensions import Never, Unpack

    from ruvllm.adapters.registry import AdapterChoice

__all__ = ["AskedKeywords", "ChatKeywords", "ChatMethods", "ManyConversations", "ToolKeywords", "told_apart"]

ManyConversations: TypeAlias = (
    Iterable[str] | Iterable[Sequence[MessageLike]] | Iterable[str | Sequence[MessageLike]]
)
"""A lone text is the user's message."""


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


class AskedKeywords(ToolKeywords, total=False):
    """What a call of `chat` may say of how the conversation is put to the model.

    Attributes:
        variables: More for the chat template, such as `{"enable_thinking": False}`.
    """

    variables: Mapping[str, Any] | None


class ChatKeywords(GenerateKeywords, AskedKeywords, total=False):
    """The keywords of `chat`: how the answer is made, what may be called, and what the template is told."""


class ChatMethods(TextMethods):
    """Conversations with the model in `_open`."""

    @property
    def recommended(self) -> Recommended:
        """How the model answers best."""
        raise NotImplementedError

    @property
    def _generations(self) -> Generations:
        raise NotImplementedError

    def _terms_of_each(
        self,
        tenant: str,
        priority: int,
        adapter: "AdapterChoice | Sequence[AdapterChoice]",
        count: int | None,
    ) -> list[Terms]:
        raise NotImplementedError

    @overload
    def chat(  # type: ignore[overload-overlap]  # of no conversations, none of which is a message
        self,
        messages: "list[Never]",
        params: ManyParams = None,
        *,
        tenant: str = "",
        priority: int = 0,
        adapter: "AdapterChoice | Sequence[AdapterChoice]" = None,
        **keywords: "Unpack[ChatKeywords]",
    ) -> list[Completion]: ...
    @overload
    def chat(  # type: ignore[overload-overlap]  # a text is a sequence of texts, too
        self,
        messages: str | Sequence[MessageLike],
        params: ParamsLike = None,
        *,
        tenant: str = "",
        priority: int = 0,
        adapter: "AdapterChoice" = None,
        **keywords: "Unpack[ChatKeywords]",
    ) -> Completion: ...
    @overload
    def chat(
        self,
        messages: ManyConversations,
        params: ManyParams = None,
        *,
        tenant: str = "",
        priority: int = 0,
        adapter: "AdapterChoice | Sequence[AdapterChoice]" = None,
        **keywords: "Unpack[ChatKeywords]",
    ) -> list[Completion]: ...
    def chat(
        self,
        messages: str | Sequence[MessageLike] | ManyConversations,
        params: ManyParams = None,
        *,
        tenant: str = "",
        priority: int = 0,
        adapter: "AdapterChoice | Sequence[AdapterChoice]" = None,
        **keywords: "Unpack[ChatKeywords]",
    ) -> Completion | list[Completion]:
        """Answer a conversation, or each of many together; a lone text is a question.

        Such a text is asked as it is `recommended` of the model, if anything is: behind that system prompt,
        and without `params` with that sampling. Messages, and what comes with tools or an adapter, are not.

            llm.chat([{"role": "user", "content": "Hello"}], temperature=0).text
            llm.chat(["What is the capital of Japan?", "What is the capital of Spain?"])[0].text

        With `tools` the answer's `tool_calls` are what the model calls, and `tool_choice="required"` makes it
        call; `params.grammar`, of JSON, then says what an answer is that calls nothing. What it thinks is in
        `reasoning`; neither is in `text`.

        Args:
            messages: Each with `role` and `content`; calls and results of tools as OpenAI's clients do it. Of
                many conversations a list, a column of a table or any other iterable.
            params: As for `generate`.
            tenant: As for `generate`.
            priority: As for `generate`.
            adapter: As for `generate`.
            **keywords: What `params` are to be other in, as for `generate`; `tools`, `tool_choice` and
                `parallel_tool_calls`, see `ToolKeywords`; and `variables`, as for `apply_chat_template`.
        """
        each, is_one = self._each_conversation(messages, params, keywords, tenant, priority, adapter)
        asked = [self._asked(*one) for one in each]
        if is_one:
            return asked[0].answer(self._generations.answer(asked[0].answering))
        made = self._generations.answers([one.answering for one in asked])
        return [one.answer(completion) for one, completion in zip(asked, made, strict=True)]

    @overload
    async def achat(  # type: ignore[overload-overlap]  # of no conversations, none of which is a message
        self,
        messages: "list[Never]",
        params: ManyParams = None,
        *,
        tenant: str = "",
        priority: int = 0,
        adapter: "AdapterChoice | Sequence[AdapterChoice]" = None,
        **keywords: "Unpack[ChatKeywords]",
    ) -> list[Completion]: ...
    @overload
    async def achat(  # type: ignore[overload-overlap]  # a text is a sequence of texts, too
        self,
        messages: str | Sequence[MessageLike],
        params: ParamsLike = None,
        *,
        tenant: str = "",
        priority: int = 0,
        adapter: "AdapterChoice" = None,
        **keywords: "Unpack[ChatKeywords]",
    ) -> Completion: ...
    @overload
    async def achat(
        self,
        messages: ManyConversations,
        params: ManyParams = None,
        *,
        tenant: str = "",
        priority: int = 0,
        adapter: "AdapterChoice | Sequence[AdapterChoice]" = None,
        **keywords: "Unpack[ChatKeywords]",
    ) -> list[Completion]: ...
    async def achat(
        self,
        messages: str | Sequence[MessageLike] | ManyConversations,
        params: ManyParams = None,
        *,
        tenant: str = "",
        priority: int = 0,
        adapter: "AdapterChoice | Sequence[AdapterChoice]" = None,
        **keywords: "Unpack[ChatKeywords]",
    ) -> Completion | list[Completion]:
        """Do the same as `chat`, to be awaited; cancelling the task that waits ends the requests.

        answer = await llm.achat("Hello", max_tokens=40)
        """
        each, is_one = self._each_conversation(messages, params, keywords, tenant, priority, adapter)
        asked = await made_of_each(self._asked, each)
        if is_one:
            return asked[0].answer(await self._generations.awaited_answer(asked[0].answering))
        made = await self._generations.awaited_answers([one.answering for one in asked])
        return [one.answer(completion) for one, completion in zip(asked, made, strict=True)]

    def _each_conversation(
        self,
        messages: str | Sequence[MessageLike] | ManyConversations,
        params: ManyParams,
        keywords: "ChatKeywords",
        tenant: str,
        priority: int,
        adapter: "AdapterChoice | Sequence[AdapterChoice]",
    ) -> "tuple[list[tuple[str | Sequence[MessageLike], GenerateParams, Terms, AskedKeywords]], bool]":
        """What is asked of each conversation, and whether it is one and no list of them."""
        changes, of_asking = told_apart(keywords)
        conversations, count = prompts_of(messages, "conversation")
        beside = (*TERMS_KEYWORDS, *sorted(AskedKeywords.__optional_keys__))
        chosen = self._open.makers.chosen(params)
        each = GenerateParams.of_each(chosen, changes, count, beside=beside)
        terms = self._terms_of_each(tenant, priority, adapter, count)
        asked = list(zip(conversations, each, terms, strict=True))
        with_tools = of_asking.get("tools") and ToolChoice.of(of_asking.get("tool_choice")).kind != "none"
        if self.recommended.given and not with_tools:
            unsaid = self.recommended.sampling
            best = GenerateParams.of(None, changes, unsaid=unsaid) if params is None else None
            asked = [self._as_recommended(*one, best) for one in asked]
        return [(*one, of_asking) for one in asked], count is None

    def _as_recommended(
        self,
        messages: str | Sequence[MessageLike],
        params: GenerateParams,
        terms: Terms,
        best: GenerateParams | None,
    ) -> "tuple[str | Sequence[MessageLike], GenerateParams, Terms]":
        """A lone text as it is best asked; anything else, and what an adapter answers, as it is."""
        if not isinstance(messages, str) or terms.adapters:
            return messages, params, terms
        return self.recommended.before(check_messages(messages)), best or params, terms

    def _asked(
        self,
        messages: str | Sequence[MessageLike],
        params: GenerateParams,
        terms: Terms,
        keywords: AskedKeywords,
    ) -> "_Asked":
        """What is to be computed for a conversation, and how its answer is read."""
        choice = ToolChoice.of(keywords.get("tool_choice"))
        tools = check_tools(keywords.get("tools", ()), choice)
        tools = () if choice.kind == "none" else tools
        rendered = self.render_chat(messages, variables=keywords.get("variables"), tools=tools)
        thinking_open = self.response_format.thinking_open(rendered.text)
        shown = self.response_format.keep_special(with_calls=bool(tools))
        # What the parser needs, and what the caller wants to see.
        params = replace(params, keep_special=tuple(dict.fromkeys((*shown, *params.keep_special))))
        parallel = keywords.get("parallel_tool_calls", True)
        grammar = self.response_format.grammar(
            tools, choice, parallel=parallel, thinking_open=thinking_open, content=params.grammar
        )
        params = self._held(params, grammar, tools)
        answering = self._generations.rendered_answering(rendered, params, terms)
        return _Asked(
            answering, lambda: self.response_format.parser(thinking_open=thinking_open, tools=tools)
        )

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


def told_apart(keywords: "ChatKeywords") -> tuple[dict[str, object], AskedKeywords]:
    """What keywords of `chat` say of how the answer is made, and what of how the model is asked."""
    of_asking = AskedKeywords.__optional_keys__
    changes = {name: value for name, value in keywords.items() if name not in of_asking}
    told = {name: value for name, value in keywords.items() if name in of_asking}
    return changes, cast("AskedKeywords", told)


class _Asked(NamedTuple):
    """A conversation that is to be answered."""

    answering: Answering
    parser: Callable[[], ResponseParser]

    def answer(self, completion: Completion) -> Completion:
        """The completion with thoughts and calls in their places, in each of its choices."""
        first, *others = (self._read(one) for one in completion.choices)
        return replace(first, other_choices=tuple(others))

    def _read(self, completion: Completion) -> Completion:
        parser = self.parser()
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
