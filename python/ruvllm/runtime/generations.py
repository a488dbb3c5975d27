"""Prompts that are to be gone on from, made into tasks and begun; `evaluations` does the same for numbers."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TypeAlias, cast

from ruvllm._checks import Interval, check_number
from ruvllm.errors import ConfigError
from ruvllm.grammar import Grammar
from ruvllm.outputs import Completion
from ruvllm.params import GenerateParams
from ruvllm.runtime.answering import Answering, Part
from ruvllm.runtime.evaluations import EvaluationResult, Evaluations
from ruvllm.runtime.gathering import MAX_IN_FLIGHT, awaited_answers, completions_in_order
from ruvllm.runtime.grammars import compiled
from ruvllm.runtime.open_model import OpenModel
from ruvllm.runtime.prompts import Prompt, check_room, is_conversation
from ruvllm.runtime.refusals import check_generation, check_prompt_logprobs
from ruvllm.runtime.request import GenerationTask, Task, Terms, ThinkingBudget
from ruvllm.runtime.streams import AsyncCompletionStream, CompletionStream
from ruvllm.text.marks import Rendered
from ruvllm.text.messages import MessageLike
from ruvllm.text.response.syntax import Reasons
from ruvllm.text.tokenizer import encode_rendered

if TYPE_CHECKING:
    import ruvllm._native as _native
    from ruvllm.adapters.registry import ChosenAdapters

__all__ = ["Asked", "Generations", "ManyAsked"]

Asked: TypeAlias = Prompt | Sequence[MessageLike]
"""What is gone on from, or answered."""
ManyAsked: TypeAlias = Iterable[str] | Iterable[Sequence[int]] | Iterable[Sequence[MessageLike]]
"""Many of these."""

# Seconds between two pieces of a stream; a larger number is likely meant as milliseconds.
MAX_INTERVAL = 10.0


class Generations:
    """Starts answers of one model."""

    def __init__(
        self,
        model: OpenModel,
        tokens_of: Callable[[Prompt], list[int]],
        render: Callable[[Sequence[MessageLike]], Rendered],
        reasons: Callable[[], Reasons | None] = lambda: None,
    ) -> None:
        self._model = model
        self._tokens_of = tokens_of
        self._render = render
        self._reasons = reasons

    def answering(self, asked: Asked, params: GenerateParams, terms: Terms) -> Answering:
        """All that is to be computed for a prompt, or for a conversation."""
        return self._answering(partial(self.task, asked), params, terms)

    def rendered_answering(self, rendered: Rendered, params: GenerateParams, terms: Terms) -> Answering:
        """The same for a conversation as the model's template wrote it."""
        return self._answering(partial(self.rendered_task, rendered), params, terms)

    def prompt_answering(self, prompt: Prompt, params: GenerateParams, terms: Terms) -> Answering:
        """The same for what is a prompt for certain."""
        return self._answering(partial(self.prompt_task, prompt), params, terms)

    def _answering(
        self, make: "Callable[[GenerateParams, Terms], GenerationTask]", params: GenerateParams, terms: Terms
    ) -> Answering:
        first = make(params.of_choice(0), terms)
        others = [self._again(first, params.of_choice(index), terms) for index in range(1, params.n)]
        wanted, scoring = params.prompt_logprobs, None
        if wanted is not None:
            check_prompt_logprobs(self._model)
            if len(first.token_ids) > 1:
                evaluations = Evaluations(self._model, self._tokens_of)
                scoring = evaluations.scoring_task(first.token_ids, wanted, terms)
        return Answering(choices=(first, *others), scores_prompt=wanted is not None, scoring=scoring)

    def _again(self, task: GenerationTask, params: GenerateParams, terms: Terms) -> GenerationTask:
        """The same prompt once more: what is learned from is kept of each answer by itself."""
        taken = self._model.learned.of_generation(terms.tenant, terms.adapters, task.token_ids)
        return replace(task, params=params, **taken._asdict())

    def task(self, asked: Asked, params: GenerateParams | None, terms: Terms) -> GenerationTask:
        """What is to be computed for a prompt, or for a conversation, that has one answer."""
        if is_conversation(asked):
            return self.rendered_task(self._render(cast("Sequence[MessageLike]", asked)), params, terms)
        return self.prompt_task(cast("Prompt", asked), params, terms)

    def rendered_task(
        self, rendered: Rendered, params: GenerateParams | None, terms: Terms
    ) -> GenerationTask:
        """The same for a conversation as the model's template wrote it."""
        tokens = encode_rendered(self._model.text.required_tokenizer(), rendered)
        return replace(self.prompt_task(tokens, params, terms), prompt=rendered.text)

    def prompt_task(self, prompt: Prompt, params: GenerateParams | None, terms: Terms) -> GenerationTask:
        """The same for what is a prompt for certain: an empty list is an empty prompt."""
        params = GenerateParams() if params is None else params
        if not isinstance(params, GenerateParams):
            raise ConfigError(f"params is a {type(params).__name__}; it must be GenerateParams")
        if params.stop_sequences or params.bad_words:
            self._model.text.required_tokenizer()
        check_generation(self._model, params, terms)
        tokens = self._tokens_of(prompt)
        room = check_room(len(tokens), self._model.max_context)
        max_tokens = min(params.max_tokens, room)
        taken = self._model.learned.of_generation(terms.tenant, terms.adapters, tokens)
        return GenerationTask(
            token_ids=tokens,
            params=params,
            max_tokens=max_tokens,
            grammar=self._compiled(params.grammar),
            thinking=self._budget(params.thinking_tokens),
            prediction=self.foretold(params),
            prompt=prompt if isinstance(prompt, str) else None,
            **(terms._asdict() | taken._asdict()),
        )

    def adapters(self, terms: Terms) -> "ChosenAdapters":
        """Those that a task of these terms would have now."""
        return self._model.learned.adapters(terms.tenant, terms.adapters)

    def _compiled(self, grammar: Grammar | None) -> "_native.Grammar | None":
        return None if grammar is None else compiled(self._model, grammar)

    def foretold(self, params: GenerateParams) -> tuple[int, ...]:
        """What is thought of the answer, in tokens: no more of it than an answer could have.

        Nothing where nothing is guessed.
        """
        given = params.prediction
        if not (given and params.speculate and self._model.speculates):
            return ()
        most = self._model.max_context
        if isinstance(given, str):
            return tuple(self._model.text.required_tokenizer().encode(given, add_bos=False)[:most])
        return given[:most]

    def _budget(self, tokens: int | None) -> ThinkingBudget | None:
        """How long it may think; `None` also for a model that does not think aloud."""
        if tokens is None or (reasons := self._reasons()) is None:
            return None
        # A model ends its thoughts in a line of their own.
        ending = self._model.text.required_tokenizer().encode(f"\n{reasons.closing}\n\n", add_bos=False)
        return ThinkingBudget(tokens, reasons.opening, reasons.closing, ending)

    def begin(self, task: GenerationTask) -> CompletionStream:
        """The answer, for a thread that reads it."""
        return CompletionStream(self._model.loop, task, with_logprobs=task.params.logprobs is not None)

    def begin_for_asyncio(self, task: GenerationTask, *, interval: float) -> AsyncCompletionStream:
        """The answer, for a coroutine that reads it."""
        check_number("interval", interval, Interval(0, MAX_INTERVAL))
        with_logprobs = task.params.logprobs is not None
        return AsyncCompletionStream(self._model.loop, task, with_logprobs=with_logprobs, interval=interval)

    def answer(self, answering: Answering) -> Completion:
        """The answer to one prompt, for a thread that waits."""
        if len(answering.tasks) == 1:
            return answering.completion([self.begin(answering.choices[0]).completion()])
        return self.answers([answering])[0]

    def answers(self, answerings: Sequence[Answering]) -> list[Completion]:
        """The answers to many together, in their order."""
        return completions_in_order(self._model.loop, answerings, max_in_flight=MAX_IN_FLIGHT)

    async def awaited_answer(self, answering: Answering) -> Completion:
        """The answer to one prompt, for a coroutine."""
        if len(answering.tasks) == 1:
            return answering.completion([await self._begun(answering.choices[0])])
        return (await self.awaited_answers([answering]))[0]

    async def awaited_answers(self, answerings: Sequence[Answering]) -> list[Completion]:
        """The answers to many together, for a coroutine."""
        return await awaited_answers(self._begun, answerings, max_in_flight=MAX_IN_FLIGHT)

    def _begun(self, task: Task) -> Awaitable[Part]:
        """What is to come of a task, which is begun here."""
        if isinstance(task, GenerationTask):
            return self.begin_for_asyncio(task, interval=0.0).completion()
        return EvaluationResult(self._model.loop, task)
