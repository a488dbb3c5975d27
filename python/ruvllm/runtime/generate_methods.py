"""Going on from prompts: one or many, whole or piece by piece, from threads and asyncio. `LLM` has these."""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, overload

from ruvllm._checks import check_integer
from ruvllm.outputs import Completion
from ruvllm.params import TERMS_KEYWORDS, GenerateKeywords, GenerateParams, ManyParams, ParamsLike
from ruvllm.runtime.awaited import Awaited
from ruvllm.runtime.gathering import MAX_IN_FLIGHT, CompletionsInTurn, made_of_each
from ruvllm.runtime.generations import Asked, Generations, ManyAsked
from ruvllm.runtime.open_model import OpenModel
from ruvllm.runtime.prompts import prompts_of
from ruvllm.runtime.request import Terms
from ruvllm.runtime.streams import AsyncCompletionStream, CompletionStream

if TYPE_CHECKING:
    from typing_extensions import Never, Unpack

    from ruvllm.adapters.registry import AdapterChoice

__all__ = ["GenerateMethods"]


class GenerateMethods:
    """Answers of the model in `_open`."""

    _open: OpenModel

    if TYPE_CHECKING:

        @property
        def _generations(self) -> Generations: ...
        def _terms(self, tenant: str = "", priority: int = 0, adapter: AdapterChoice = None) -> Terms: ...
        def _terms_of_each(
            self,
            tenant: str,
            priority: int,
            adapter: AdapterChoice | Sequence[AdapterChoice],
            count: int | None,
        ) -> list[Terms]: ...

        def on(self, terms: Terms) -> Awaited:
            """Stands in `LLM`."""

    def recommended_params(self) -> GenerateParams:
        """The sampling that the model's makers recommend: what `params="model"` stands for.

        It stands in the model's files: `generation_config.json`, or `general.sampling.*` of a GGUF file. What
        they do not speak of is off. `ConfigError` where they recommend nothing.
        """
        return self._open.makers.recommended()

    def _chosen(self, params: ParamsLike) -> ParamsLike:
        return self._open.makers.chosen(params)

    @overload
    def generate(  # type: ignore[overload-overlap]  # of no prompts, none of which is a token
        self,
        prompt: "list[Never]",
        params: ManyParams = None,
        *,
        tenant: str = "",
        priority: int = 0,
        adapter: "AdapterChoice | Sequence[AdapterChoice]" = None,
        **keywords: "Unpack[GenerateKeywords]",
    ) -> list[Completion]: ...
    @overload
    def generate(  # type: ignore[overload-overlap]  # a text is a sequence of texts, too
        self,
        prompt: Asked,
        params: ParamsLike = None,
        *,
        tenant: str = "",
        priority: int = 0,
        adapter: "AdapterChoice" = None,
        **keywords: "Unpack[GenerateKeywords]",
    ) -> Completion: ...
    @overload
    def generate(
        self,
        prompt: ManyAsked,
        params: ManyParams = None,
        *,
        tenant: str = "",
        priority: int = 0,
        adapter: "AdapterChoice | Sequence[AdapterChoice]" = None,
        **keywords: "Unpack[GenerateKeywords]",
    ) -> list[Completion]: ...
    def generate(
        self,
        prompt: Asked | ManyAsked,
        params: ManyParams = None,
        *,
        tenant: str = "",
        priority: int = 0,
        adapter: "AdapterChoice | Sequence[AdapterChoice]" = None,
        **keywords: "Unpack[GenerateKeywords]",
    ) -> Completion | list[Completion]:
        """Continue a prompt, or each of many together.

            llm.generate("The capital of France is", max_tokens=8).text
            llm.generate(table["question"], max_tokens=8)  # a list of as many completions
            [one.text for one in llm.generate("Name a colour:", n=3, max_tokens=4).choices]

        Args:
            prompt: A text, token ids or a conversation; or many of these in a list, a column of a table or
                any other iterable. Of an empty list nothing comes but an empty list, also where it stands
                for token ids: `tokenize` may give none.
            params: How; the defaults are `GenerateParams()`, and "model" is what `recommended_params` gives.
                For many prompts also a list or a column, one for each.
            tenant: On whose account, as `org/team/user`. Tenants take turns and share no cached prefix.
            priority: Higher ones go first, if need be in the place of lower ones.
            adapter: The name of a loaded adapter, or several with scales: `{"tone": 1.0, "law": 0.5}`; for
                many prompts also a list, one for each.
            **keywords: What `params` are to be other in: any field of `GenerateParams`, and `stop` for
                `stop_sequences`.
        """
        each, is_one = self._each(prompt, params, keywords, tenant, priority, adapter)
        generations = self._generations
        if is_one:
            return generations.answer(generations.answering(*each[0]))
        return generations.answers([generations.answering(*one) for one in each])

    @overload
    async def agenerate(  # type: ignore[overload-overlap]  # of no prompts, none of which is a token
        self,
        prompt: "list[Never]",
        params: ManyParams = None,
        *,
        tenant: str = "",
        priority: int = 0,
        adapter: "AdapterChoice | Sequence[AdapterChoice]" = None,
        **keywords: "Unpack[GenerateKeywords]",
    ) -> list[Completion]: ...
    @overload
    async def agenerate(  # type: ignore[overload-overlap]  # a text is a sequence of texts, too
        self,
        prompt: Asked,
        params: ParamsLike = None,
        *,
        tenant: str = "",
        priority: int = 0,
        adapter: "AdapterChoice" = None,
        **keywords: "Unpack[GenerateKeywords]",
    ) -> Completion: ...
    @overload
    async def agenerate(
        self,
        prompt: ManyAsked,
        params: ManyParams = None,
        *,
        tenant: str = "",
        priority: int = 0,
        adapter: "AdapterChoice | Sequence[AdapterChoice]" = None,
        **keywords: "Unpack[GenerateKeywords]",
    ) -> list[Completion]: ...
    async def agenerate(
        self,
        prompt: Asked | ManyAsked,
        params: ManyParams = None,
        *,
        tenant: str = "",
        priority: int = 0,
        adapter: "AdapterChoice | Sequence[AdapterChoice]" = None,
        **keywords: "Unpack[GenerateKeywords]",
    ) -> Completion | list[Completion]:
        """Do the same as `generate`, to be awaited; cancelling the task that waits ends the requests.

        answers = await llm.agenerate(["Paris is", "Rome is"], max_tokens=8)
        """
        each, is_one = self._each(prompt, params, keywords, tenant, priority, adapter)
        generations = self._generations
        if is_one:
            return await generations.awaited_answer(generations.answering(*each[0]))
        return await generations.awaited_answers(await made_of_each(generations.answering, each))

    def _each(
        self,
        prompt: Asked | ManyAsked,
        params: ManyParams,
        keywords: "GenerateKeywords",
        tenant: str,
        priority: int,
        adapter: "AdapterChoice | Sequence[AdapterChoice]",
    ) -> "tuple[list[tuple[Asked, GenerateParams, Terms]], bool]":
        """What a task is made of for each prompt, and whether it is one prompt and no list of them."""
        prompts, count = prompts_of(prompt)
        chosen = self._open.makers.chosen(params)
        each = GenerateParams.of_each(chosen, keywords, count, beside=TERMS_KEYWORDS)
        terms = self._terms_of_each(tenant, priority, adapter, count)
        return list(zip(prompts, each, terms, strict=True)), count is None

    def stream(
        self,
        prompt: Asked,
        params: ParamsLike = None,
        *,
        tenant: str = "",
        priority: int = 0,
        adapter: "AdapterChoice" = None,
        **keywords: "Unpack[GenerateKeywords]",
    ) -> CompletionStream:
        """Continue a prompt, or answer a conversation, piece by piece.

            for chunk in llm.stream([{"role": "user", "content": "Hello"}], temperature=0):
                print(chunk.text, end="", flush=True)

        The request begins at once; closing the stream ends it. Arguments are as for `generate`, but a stream
        is of one answer: for several, open one for each.
        """
        params = GenerateParams.of(self._chosen(params), keywords, beside=TERMS_KEYWORDS)
        generations = self._generations
        return generations.begin(generations.task(prompt, params, self._terms(tenant, priority, adapter)))

    def astream(
        self,
        prompt: Asked,
        params: ParamsLike = None,
        *,
        tenant: str = "",
        priority: int = 0,
        adapter: "AdapterChoice" = None,
        interval: float = 0.0,
        **keywords: "Unpack[GenerateKeywords]",
    ) -> AsyncCompletionStream:
        """Do the same as `stream` for `async for`; cancelling the task that reads ends the request.

        With an `interval` pieces come at least so many seconds apart, but for the first and the last: many
        streams cost less processor time.

        async for chunk in llm.astream("Once upon a time", max_tokens=40):
            print(chunk.text, end="", flush=True)
        """
        params = GenerateParams.of(self._chosen(params), keywords, beside=(*TERMS_KEYWORDS, "interval"))
        return self.on(self._terms(tenant, priority, adapter)).stream(prompt, params, interval=interval)

    def as_completed(
        self,
        prompts: Iterable[Asked],
        params: ParamsLike = None,
        *,
        tenant: str = "",
        priority: int = 0,
        adapter: "AdapterChoice" = None,
        max_in_flight: int = MAX_IN_FLIGHT,
        **keywords: "Unpack[GenerateKeywords]",
    ) -> CompletionsInTurn:
        """Answer any number of prompts or conversations together; gives each when it is done.

            for index, outcome in llm.as_completed(["Paris is", "Rome is"], max_tokens=8):
                print(index, outcome)

        An outcome is a `Completion`, or the error of this one prompt. At most `max_in_flight` are under way;
        the others are taken from their iterable when there is room.
        """
        check_integer("max_in_flight", max_in_flight, 1)
        params = GenerateParams.of(self._chosen(params), keywords, beside=(*TERMS_KEYWORDS, "max_in_flight"))
        make = partial(
            self._generations.answering, params=params, terms=self._terms(tenant, priority, adapter)
        )
        return CompletionsInTurn(self._open.loop, prompts, make, max_in_flight=max_in_flight)
