"""One request: what is to be computed, and where its events go."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, TypeAlias

from ruvllm.params import GenerateParams
from ruvllm.runtime.events import Event

if TYPE_CHECKING:
    import ruvllm._native as _native
    from ruvllm.adapters.generation import HeldAdapters
    from ruvllm.adapters.registry import ChosenAdapters
    from ruvllm.runtime.learned import Capture

__all__ = [
    "EvaluationKind",
    "EvaluationTask",
    "GenerationTask",
    "Place",
    "PromptProgress",
    "Request",
    "Sink",
    "Task",
    "Terms",
    "ThinkingBudget",
]

EvaluationKind: TypeAlias = Literal["logits", "score", "candidates", "embed"]
Place: TypeAlias = tuple[int, tuple[int, ...]]
"""The index of a token, and tokens that could stand right after it."""


class ThinkingBudget(NamedTuple):
    """So many tokens of thoughts, the marks around them, and the tokens that end them then."""

    tokens: int
    opening: str
    closing: str
    closing_tokens: Sequence[int]


class Terms(NamedTuple):
    """On what terms a request is computed: whose it is, how urgent, and with which adapters.

    `priority` orders it among its tenant's own, `rank` beside other tenants'; without a rank the priority is
    meant in both. The adapters are those that their names stood for when the terms were made.
    """

    tenant: str = ""
    priority: int = 0
    rank: int | None = None
    adapters: "ChosenAdapters" = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationTask:
    """Make tokens after a prompt; `max_tokens` fits the context already, and `grammar` is compiled.

    `prompt` is the text of its tokens, where there was one.
    """

    token_ids: Sequence[int]
    params: GenerateParams
    max_tokens: int
    tenant: str = ""
    priority: int = 0
    rank: int | None = None
    adapters: "ChosenAdapters" = ()
    head: "_native.HeadAdapter | None" = None
    capture: "Capture | None" = None
    grammar: "_native.Grammar | None" = None
    thinking: ThinkingBudget | None = None
    prediction: tuple[int, ...] = ()
    prompt: str | None = None

    @property
    def reserved_tokens(self) -> int:
        """Positions that it may take at its longest."""
        return len(self.token_ids) + self.max_tokens

    @property
    def held_tokens(self) -> int:
        """Tokens that it holds while it waits."""
        return len(self.token_ids) + len(self.prediction)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationTask:
    """Compute something about given tokens.

    `top_logprobs` is how many likeliest ones a `score` names. `candidates` are what is measured at which
    places, in rising order; of such a task `shared_tokens` of the beginning stand in others too.
    """

    token_ids: Sequence[int]
    kind: EvaluationKind
    top_logprobs: int = 0
    candidates: tuple[Place, ...] = ()
    shared_tokens: int = 0
    tenant: str = ""
    priority: int = 0
    rank: int | None = None
    adapters: "ChosenAdapters" = ()
    head: "_native.HeadAdapter | None" = None
    capture: "Capture | None" = None

    @property
    def reserved_tokens(self) -> int:
        """Positions that it takes."""
        return len(self.token_ids)

    @property
    def held_tokens(self) -> int:
        """Tokens that it holds while it waits."""
        return len(self.token_ids)


Task: TypeAlias = GenerationTask | EvaluationTask


class Sink(Protocol):
    """Where a request's events go. Called by one thread at a time, and never after the last event."""

    def deliver(self, events: Sequence[Event], now: float) -> None:
        """Take events that came together; `now` is the loop's clock. Must not wait."""


class PromptProgress(NamedTuple):
    """How far a prompt is read: its tokens, those that were there as it came in, and all that are by now.

    A beginning that another request was computing just then is not among the second.
    """

    total_tokens: int
    cached_tokens: int
    computed_tokens: int


class Request:
    """A task on its way. Made by `EngineLoop.submit`; its state belongs to the loop.

    Attributes:
        request_id: The loop's own number for it, in order of submission.
        task: What is to be computed.
        sink: Where its events go.
        submitted_at: The loop's clock when it came.
        sequence: The engine's number for it, once it is in.
        cancelled: Whether nobody wants it any more.
        since: A number that counts up: when it began to wait, or was set aside.
        entered_tokens: Tokens that were known of it as it last came in.
        planned_at: The last plan that had a part for it.
        computed_tokens: Tokens of it that were computed, as of the last plan; `None` where nobody knows.
        found_tokens: Tokens of it that were computed as the engine took it in; `None` before.
        held: Its adapters, which stay ready until it ends.
    """

    __slots__ = (
        "cancelled",
        "computed_tokens",
        "entered_tokens",
        "found_tokens",
        "held",
        "planned_at",
        "request_id",
        "sequence",
        "since",
        "sink",
        "submitted_at",
        "task",
    )

    def __init__(
        self, request_id: int, task: Task, sink: Sink, submitted_at: float, held: "HeldAdapters"
    ) -> None:
        self.request_id = request_id
        self.task = task
        self.sink = sink
        self.submitted_at = submitted_at
        self.sequence: int | None = None
        self.cancelled = False
        self.since = request_id
        self.entered_tokens = len(task.token_ids)
        self.planned_at = 0
        self.computed_tokens: int | None = None
        self.found_tokens: int | None = None
        self.held = held

    @property
    def prompt_progress(self) -> PromptProgress | None:
        """How far its prompt is read, as of the last plan; `None` where nobody knows."""
        if self.computed_tokens is None:
            return None
        total = len(self.task.token_ids)
        return PromptProgress(total, self.found_tokens or 0, min(total, self.computed_tokens))

    @property
    def prompt_share(self) -> float | None:
        """The share of the prompt that is computed, as of the last plan; `None` where nobody knows."""
        progress = self.prompt_progress
        return None if progress is None else progress.computed_tokens / max(1, progress.total_tokens)

    @property
    def completion_id(self) -> str | None:
        """What feedback may call the answer; `None` where it is not kept for any."""
        return None if self.task.capture is None else self.task.capture.completion_id
