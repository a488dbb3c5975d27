"""Numbers about given tokens: logits, logprobs, embeddings; waited for by a thread or awaited by a task.

A result is the sink of one request. Whoever stops waiting, by an exception or by cancelling the task that
awaits, cancels the request.
"""

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeAlias, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from ruvllm._checks import check_integer
from ruvllm.errors import ConfigError, ContextLengthError
from ruvllm.outputs import TokenLogprob
from ruvllm.params import MAX_LOGPROBS
from ruvllm.runtime.branches import Branch, BranchResults
from ruvllm.runtime.events import Event, FoundValues
from ruvllm.runtime.learned import Capture, Taken
from ruvllm.runtime.loop import EngineLoop
from ruvllm.runtime.open_model import OpenModel
from ruvllm.runtime.outcome import Outcome
from ruvllm.runtime.prompts import Prompt, check_tokens
from ruvllm.runtime.refusals import check_evaluation
from ruvllm.runtime.request import EvaluationKind, EvaluationTask, Terms

__all__ = ["EvaluationResult", "Evaluations", "StackedResults", "TokenIds"]

Result = TypeVar("Result")
TokenIds: TypeAlias = Sequence[int] | NDArray[np.integer[Any]]


class EvaluationResult(Outcome[Result]):
    """What one evaluation gives, once: to the thread that calls `wait`, or to the task that awaits it."""

    def __init__(self, loop: EngineLoop, task: EvaluationTask) -> None:
        super().__init__()
        self._loop = loop
        self._found = FoundValues()
        self._request = loop.submit(task, self)

    def deliver(self, events: Sequence[Event], now: float) -> None:
        """Take events, as a `Sink` does."""
        found = self._found.take(events)
        if isinstance(found, Exception):
            self._outcome.set_exception(found)
        elif found is not None:
            self._outcome.set_result(cast("Result", found))

    def cancel(self) -> None:
        """Stop: nobody wants the values any more."""
        self._loop.cancel(self._request)


class StackedResults:
    """The rows of several evaluations as one array; whoever stops waiting cancels them all."""

    def __init__(self, loop: EngineLoop, tasks: Iterable[EvaluationTask], width: int) -> None:
        self._width = width
        self._results: list[EvaluationResult[NDArray[np.float32]]] = []
        try:
            self._results.extend(EvaluationResult(loop, task) for task in tasks)
        except BaseException:
            self._cancel()
            raise

    def wait(self) -> NDArray[np.float32]:
        """Wait for all of them."""
        try:
            return self._stacked([result.wait() for result in self._results])
        finally:
            self._cancel()

    def __await__(self) -> Generator[Any, None, NDArray[np.float32]]:
        return self._gather().__await__()

    async def _gather(self) -> NDArray[np.float32]:
        try:
            return self._stacked([await result for result in self._results])
        finally:
            self._cancel()

    def _stacked(self, rows: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        return np.stack(rows) if rows else np.empty((0, self._width), np.float32)

    def _cancel(self) -> None:
        for result in self._results:
            result.cancel()


class Evaluations:
    """Starts evaluations on one model; what they give is waited for or awaited."""

    def __init__(self, model: OpenModel, tokens_of: Callable[[Prompt], list[int]]) -> None:
        self._model = model
        self._loop = model.loop
        self._tokens_of = tokens_of

    def logits(self, token_ids: TokenIds, terms: Terms) -> EvaluationResult[NDArray[np.float32]]:
        """The logits after each token, `[tokens, vocab]`."""
        return EvaluationResult(self._loop, self._task(self._checked(token_ids), "logits", terms))

    def token_logprobs(
        self, token_ids: TokenIds, top_logprobs: int, terms: Terms
    ) -> EvaluationResult[tuple[TokenLogprob, ...]]:
        """How likely each token but the first is after those before it."""
        return EvaluationResult(self._loop, self.scoring_task(token_ids, top_logprobs, terms))

    def scoring_task(self, token_ids: TokenIds, top_logprobs: int, terms: Terms) -> EvaluationTask:
        """What `token_logprobs` begins."""
        check_integer("top_logprobs", top_logprobs, 0, MAX_LOGPROBS)
        tokens = self._checked(token_ids)
        if len(tokens) < 2:
            raise ConfigError(f"token_ids has {len(tokens)} token; scoring needs at least 2")
        return self._task(tokens, "score", terms, top_logprobs)

    def capture(
        self, token_ids: TokenIds, capture: Capture, terms: Terms
    ) -> EvaluationResult[tuple[TokenLogprob, ...]]:
        """The same, and what is learned from is kept of the tokens from `capture.first` on."""
        return EvaluationResult(
            self._loop, self._task(self._checked(token_ids), "score", terms, capture=capture)
        )

    def judged(
        self, token_ids: TokenIds, terms: Terms, taken: Taken
    ) -> EvaluationResult[tuple[TokenLogprob, ...]]:
        """The same as `token_logprobs`, with this in the place of what the tenant has learned."""
        task = self._task(self._checked(token_ids), "score", terms)
        return EvaluationResult(self._loop, replace(task, **taken._asdict()))

    def embed(self, text: Prompt, terms: Terms) -> EvaluationResult[NDArray[np.float32]]:
        """The mean of the last hidden states at unit length."""
        return EvaluationResult(self._loop, self._task(self._tokens_of(text), "embed", terms))

    def embed_each(self, texts: Sequence[Prompt], terms: Sequence[Terms]) -> StackedResults:
        """The same of each text of a list, each on its terms."""
        tasks = [
            self._task(self._tokens_of(one), "embed", its) for one, its in zip(texts, terms, strict=True)
        ]
        return StackedResults(self._loop, tasks, self._model.facts.hidden_size)

    def branches(self, beginning: Sequence[int], branches: Sequence[Branch], terms: Terms) -> BranchResults:
        """How likely the tokens that each branch asks for are, behind a beginning that all have."""
        check_evaluation(self._model, "candidates", terms)
        limit = self._model.max_context
        longest = len(beginning) + max(len(branch.suffix) for branch in branches)
        if longest > limit:
            raise ContextLengthError.exceeded(prompt_tokens=longest, max_context=limit)
        taken = self._model.learned.of_evaluation(terms.tenant, terms.adapters)

        def task_of(index: int) -> EvaluationTask:
            branch = branches[index]
            return EvaluationTask(
                token_ids=[*beginning, *branch.suffix],
                kind="candidates",
                candidates=branch.places,
                shared_tokens=branch.shared_tokens,
                **(terms._asdict() | taken._asdict()),
            )

        return BranchResults(self._loop, len(branches), task_of, taken.adapters)

    def endings(self, beginning: TokenIds, endings: Sequence[Sequence[int]], terms: Terms) -> BranchResults:
        """How likely every token of each ending is, behind a beginning that all have."""
        begun = self._checked(beginning)
        if not endings:
            raise ConfigError("endings is empty; there must be at least one")
        # A beginning that no other ending has is not worth keeping.
        shared = len(begun) if len(endings) > 1 else 0
        branches = []
        for ending in map(self._checked, endings):
            places = tuple((len(begun) - 1 + place, (token,)) for place, token in enumerate(ending))
            branches.append(Branch(tuple(ending), places, shared))
        return self.branches(begun, branches, terms)

    def _checked(self, token_ids: TokenIds) -> list[int]:
        return check_tokens(token_ids, self._model.facts.vocab_size)

    def _task(
        self,
        tokens: list[int],
        kind: EvaluationKind,
        terms: Terms,
        top_logprobs: int = 0,
        capture: Capture | None = None,
    ) -> EvaluationTask:
        check_evaluation(self._model, kind, terms)
        limit = self._model.max_context
        if len(tokens) > limit:
            raise ContextLengthError.exceeded(prompt_tokens=len(tokens), max_context=limit)
        # Embeddings are what they were, whatever was learned.
        taken = Taken(terms.adapters)
        if kind != "embed":
            taken = self._model.learned.of_evaluation(terms.tenant, terms.adapters)
        return EvaluationTask(
            token_ids=tokens,
            kind=kind,
            top_logprobs=top_logprobs,
            **(terms._asdict() | taken._replace(capture=capture)._asdict()),
        )
