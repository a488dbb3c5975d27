"""How a fine-tune is run: what is learned, how fast, how long, and what is held back to judge it."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from ruvllm._checks import Interval, check_integer, check_number, check_type
from ruvllm.errors import ConfigError

__all__ = ["MAX_TEACHER_TOP", "LearningRateSchedule", "TrainingConfig", "TrainingObjective"]

MAX_RANK = 512
# So many of a teacher's likeliest tokens the engine tells.
MAX_TEACHER_TOP = 20
_POSITIVE = Interval(0, 1e9, low_included=False)
_NOT_NEGATIVE = Interval(0, 1e9)


class LearningRateSchedule(enum.Enum):
    """How the learning rate goes over a run; docs/training.md has the formulas."""

    Constant = "constant"
    Linear = "linear"
    Cosine = "cosine"
    OneCycle = "one_cycle"


class TrainingObjective(enum.Enum):
    """What is made more likely."""

    Supervised = "supervised"
    Distill = "distill"
    Dpo = "dpo"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """How an adapter is trained.

    >>> TrainingConfig().learning_rate, TrainingConfig.realtime().learning_rate
    (0.002, 0.001)

    Attributes:
        learning_rate: Of AdamW, when the warm-up is over.
        min_learning_rate: Where Linear, Cosine and OneCycle end.
        max_learning_rate: Up to which OneCycle rises; no `learning_rate` is above it.
        ewc_lambda: How strongly the loops that learn while the model serves hold on to what was learned. A
            fine-tune of its own begins with an adapter that does nothing, and has nothing to hold on to.
        fisher_decay: How fast those loops let importance fade.
        batch_size: Examples that are computed together; more need more memory.
        quality_threshold: Of `TrainingSample`s, and of lines that have a `quality`, lower ones are left out.
        schedule: How the learning rate goes.
        warmup_steps: The learning rate rises over so many steps, and at most a tenth of all. OneCycle has a
            rise of its own.
        max_grad_norm: A longer gradient is made so short; 0 never does.
        weight_decay: As in AdamW.
        rank: Of the adapter.
        alpha: Over the rank, what its product is multiplied with.
        target_modules: The maps that it changes, by PEFT's names; `None` is all of every layer.
        layers: The layers that it changes; `None` is all.
        objective: What is made more likely: answers, a teacher's words, or the better one of two answers.
        epochs: How often every example is seen.
        steps: How many steps are taken instead; `None` follows from `epochs`.
        gradient_accumulation: Batches whose gradients are added up for one step.
        held_out: The share of the examples that is never trained on, but judged by; 0 is none.
        evaluate_every: Steps between two looks at these; `None` takes ten looks over a run.
        patience: Looks without a better one after which training ends early; 0 never does.
        max_tokens: Longer examples are cut; `None` is 1024, or the model's context where that is less.
        seed: What the adapter begins with, what is held out and the order of the examples follow from it.
        beta: How much preference pairs may draw the model away from what it was.
        teacher: The model that is learned from, as `LLM` takes it; for `Distill` alone.
        teacher_top: How many of its likeliest tokens count.
        teacher_share: How much the teacher counts beside the answer that stands in the data.
        checkpoint_every: Steps between two checkpoints.
        recompute: Whether what a layer computes is computed again for its gradient, instead of kept.
    """

    learning_rate: float = 0.002
    min_learning_rate: float = 1e-5
    max_learning_rate: float = 0.01
    ewc_lambda: float = 2000.0
    fisher_decay: float = 0.999
    batch_size: int = 1
    quality_threshold: float = 0.3
    schedule: LearningRateSchedule = LearningRateSchedule.Cosine
    warmup_steps: int = 100
    max_grad_norm: float = 1.0
    weight_decay: float = 0.01
    rank: int = 8
    alpha: float = 16.0
    target_modules: Sequence[str] | None = None
    layers: Sequence[int] | None = None
    objective: TrainingObjective = TrainingObjective.Supervised
    epochs: int = 3
    steps: int | None = None
    gradient_accumulation: int = 4
    held_out: float = 0.1
    evaluate_every: int | None = None
    patience: int = 0
    max_tokens: int | None = None
    seed: int = 0
    beta: float = 0.1
    teacher: str | None = None
    teacher_top: int = 16
    teacher_share: float = 1.0
    checkpoint_every: int = 50
    recompute: bool = True

    def __post_init__(self) -> None:
        self._check_rates()
        self._check_adapter()
        self._check_run()
        self._check_objective()

    @classmethod
    def realtime(cls) -> "TrainingConfig":
        """As the loops take it that learn while the model serves: with half the learning rate."""
        return cls(learning_rate=0.001)

    @property
    def examples_per_step(self) -> int:
        """Examples whose gradients make one step."""
        return self.batch_size * self.gradient_accumulation

    def _check_rates(self) -> None:
        for name in ("learning_rate", "min_learning_rate", "max_learning_rate"):
            check_number(name, getattr(self, name), _POSITIVE)
        if not self.min_learning_rate <= self.learning_rate <= self.max_learning_rate:
            raise ConfigError(
                f"learning_rate is {self.learning_rate}; it must be between min_learning_rate "
                f"{self.min_learning_rate} and max_learning_rate {self.max_learning_rate}"
            )
        for name in ("max_grad_norm", "weight_decay", "ewc_lambda"):
            check_number(name, getattr(self, name), _NOT_NEGATIVE)
        check_number("fisher_decay", self.fisher_decay, Interval(0, 1))
        check_number("quality_threshold", self.quality_threshold, Interval(0, 1))
        check_type("schedule", self.schedule, LearningRateSchedule)
        check_integer("warmup_steps", self.warmup_steps, 0)

    def _check_adapter(self) -> None:
        check_integer("rank", self.rank, 1, MAX_RANK)
        check_number("alpha", self.alpha, _POSITIVE)
        check_type("recompute", self.recompute, bool)
        if self.target_modules is not None:
            names = tuple(self.target_modules)
            if isinstance(self.target_modules, str) or not names or not all(map(_is_name, names)):
                raise ConfigError(
                    f"target_modules is {self.target_modules!r}; it must be a list of names as 'q_proj'"
                )
            object.__setattr__(self, "target_modules", tuple(dict.fromkeys(names)))
        if self.layers is not None:
            chosen = tuple(sorted({check_integer("a layer", one, 0) for one in self.layers}))
            if not chosen:
                raise ConfigError("layers is empty; there must be a layer to train")
            object.__setattr__(self, "layers", chosen)

    def _check_run(self) -> None:
        for name in ("epochs", "batch_size", "gradient_accumulation", "checkpoint_every"):
            check_integer(name, getattr(self, name), 1)
        for name in ("steps", "evaluate_every"):
            if getattr(self, name) is not None:
                check_integer(name, getattr(self, name), 1)
        if self.max_tokens is not None:
            check_integer("max_tokens", self.max_tokens, 2)
        check_number("held_out", self.held_out, Interval(0, 0.9))
        check_integer("patience", self.patience, 0)
        check_integer("seed", self.seed, 0, 2**63 - 1)
        if self.patience and not self.held_out:
            raise ConfigError("patience is set and held_out is 0; there is nothing to judge by")

    def _check_objective(self) -> None:
        check_type("objective", self.objective, TrainingObjective)
        check_number("beta", self.beta, _POSITIVE)
        check_integer("teacher_top", self.teacher_top, 1, MAX_TEACHER_TOP)
        check_number("teacher_share", self.teacher_share, Interval(0, 1, low_included=False))
        is_distilled = self.objective is TrainingObjective.Distill
        if is_distilled and self.teacher is None:
            raise ConfigError("objective is Distill; teacher must name the model to learn from")
        if self.teacher is not None and not is_distilled:
            raise ConfigError(f"teacher is {self.teacher!r}; only the objective Distill has one")


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(value)
