"""Flags of `ruvllm train`: what a `TrainingConfig` has; a test compares the defaults."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

from ruvllm.cli.command import flag
from ruvllm.cli.options import CacheOptions
from ruvllm.engine_settings import Activations, EngineSettings, Isa
from ruvllm.errors import ConfigError

if TYPE_CHECKING:
    import enum

    from ruvllm.training import TrainingConfig

__all__ = ["AdapterShape", "Course", "Goal", "MachineOptions", "Place", "config_of"]

_ENGINE = {one.name: one.metadata for one in fields(EngineSettings)}
Member = TypeVar("Member", bound="enum.Enum")


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineSettings:
    """Of the engine's settings, those that training has as well."""

    threads: int | None = field(default=None, metadata=_ENGINE["threads"])
    isa: Isa | None = field(default=None, metadata=_ENGINE["isa"])
    activations: Activations = field(default="auto", metadata=_ENGINE["activations"])


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineOptions(CacheOptions):
    """What the model is computed with, and where it is found."""

    settings: MachineSettings

    def engine_settings(self) -> EngineSettings:
        """The same as settings of an engine."""
        chosen = self.settings
        return EngineSettings(threads=chosen.threads, isa=chosen.isa, activations=chosen.activations)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the adapter goes, and whether a run goes on."""

    out: Annotated[
        Path | None,
        flag(
            "--out",
            "-o",
            variable="RUVLLM_TRAIN_OUT",
            help="The folder to write; it must not be there yet.",
            metavar="ADAPTER",
        ),
    ] = None
    resume: Annotated[
        bool,
        flag(
            "--resume",
            variable="RUVLLM_TRAIN_RESUME",
            help="Go on where a run of the same command ended, to the very same result.",
        ),
    ] = False
    checkpoint_every: Annotated[
        int,
        flag("--checkpoint-every", help="Steps between two checkpoints.", min=1, rich_help_panel="Course"),
    ] = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterShape:
    """How large the adapter is, and what it changes."""

    rank: Annotated[
        int,
        flag(
            "--rank",
            variable="RUVLLM_TRAIN_RANK",
            help="Of its matrices: a higher one can hold more, and takes longer and more memory.",
            min=1,
            rich_help_panel="Adapter",
        ),
    ] = 8
    alpha: Annotated[
        float,
        flag("--alpha", help="Over the rank, how strongly it acts.", rich_help_panel="Adapter"),
    ] = 16.0
    modules: Annotated[
        str,
        flag(
            "--modules",
            help="all, or the maps that it changes: q_proj,v_proj is the smallest that is usual.",
            metavar="NAME[,NAME...]",
            rich_help_panel="Adapter",
        ),
    ] = "all"
    layers: Annotated[
        str | None,
        flag(
            "--layers",
            help="The layers that it changes, by default all; the last ones alone are faster.",
            metavar="FROM-TO",
            rich_help_panel="Adapter",
        ),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What is made more likely."""

    objective: Annotated[
        str,
        flag(
            "--objective",
            help="supervised: the answers in the data. distill: what --teacher would say there. dpo: the "
            "chosen one of two answers.",
            metavar="supervised|distill|dpo",
            rich_help_panel="Goal",
        ),
    ] = "supervised"
    teacher: Annotated[
        str | None,
        flag(
            "--teacher",
            help="For distill: a larger model with the same tokenizer.",
            metavar="MODEL",
            rich_help_panel="Goal",
        ),
    ] = None
    teacher_top: Annotated[
        int,
        flag(
            "--teacher-top",
            help="For distill: so many of its likeliest tokens count.",
            min=1,
            max=20,
            rich_help_panel="Goal",
        ),
    ] = 16
    teacher_share: Annotated[
        float,
        flag(
            "--teacher-share",
            help="For distill: how much it counts beside the answer in the data; 1 is alone.",
            rich_help_panel="Goal",
        ),
    ] = 1.0
    beta: Annotated[
        float,
        flag(
            "--beta",
            help="For dpo: how closely the model stays what it was; higher is closer.",
            rich_help_panel="Goal",
        ),
    ] = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How long it is trained, and how fast."""

    epochs: Annotated[
        int,
        flag("--epochs", help="How often each example is seen.", min=1, rich_help_panel="Course"),
    ] = 3
    steps: Annotated[
        int | None,
        flag("--steps", help="How many steps are taken instead.", min=1, rich_help_panel="Course"),
    ] = None
    learning_rate: Annotated[
        float,
        flag(
            "--learning-rate",
            help="Half of it where the loss jumps about, twice where it hardly falls.",
            rich_help_panel="Course",
        ),
    ] = 0.002
    schedule: Annotated[
        str,
        flag(
            "--schedule",
            help="How that goes: constant, linear, cosine, or one_cycle, which rises to 0.01 first.",
            metavar="constant|linear|cosine|one_cycle",
            rich_help_panel="Course",
        ),
    ] = "cosine"
    warmup_steps: Annotated[
        int,
        flag(
            "--warmup-steps",
            help="It rises over so many steps, and at most a tenth of all.",
            min=0,
            rich_help_panel="Course",
        ),
    ] = 100
    batch_size: Annotated[
        int,
        flag(
            "--batch-size",
            help="Examples computed together; more are faster and need memory.",
            min=1,
            rich_help_panel="Course",
        ),
    ] = 1
    gradient_accumulation: Annotated[
        int,
        flag(
            "--gradient-accumulation",
            help="Batches for one step; more are steadier and take longer.",
            min=1,
            rich_help_panel="Course",
        ),
    ] = 4
    held_out: Annotated[
        float,
        flag(
            "--held-out",
            help="The share of examples that is only judged by; the best adapter by these is written.",
            rich_help_panel="Course",
        ),
    ] = 0.1
    patience: Annotated[
        int,
        flag(
            "--patience",
            help="End after so many looks at these without a better one; 0 never does.",
            min=0,
            rich_help_panel="Course",
        ),
    ] = 0
    max_length: Annotated[
        int | None,
        flag(
            "--max-length",
            help="Tokens of an example, the rest is cut; by default 1024 or the model's context.",
            min=2,
            rich_help_panel="Course",
        ),
    ] = None
    seed: Annotated[
        int,
        flag(
            "--seed",
            variable="RUVLLM_TRAIN_SEED",
            help="The same seed gives the same adapter.",
            min=0,
            rich_help_panel="Course",
        ),
    ] = 0


def config_of(place: Place, shape: AdapterShape, goal: Goal, course: Course) -> "TrainingConfig":
    """What the flags say."""
    from ruvllm.training import LearningRateSchedule, TrainingConfig, TrainingObjective

    usual = TrainingConfig()
    return TrainingConfig(
        learning_rate=course.learning_rate,
        max_learning_rate=max(course.learning_rate, usual.max_learning_rate),
        min_learning_rate=min(course.learning_rate, usual.min_learning_rate),
        batch_size=course.batch_size,
        schedule=_member("--schedule", course.schedule, LearningRateSchedule),
        warmup_steps=course.warmup_steps,
        rank=shape.rank,
        alpha=shape.alpha,
        target_modules=None if shape.modules == "all" else shape.modules.split(","),
        layers=_range("--layers", shape.layers),
        objective=_member("--objective", goal.objective, TrainingObjective),
        epochs=course.epochs,
        steps=course.steps,
        gradient_accumulation=course.gradient_accumulation,
        held_out=course.held_out,
        patience=course.patience,
        max_tokens=course.max_length,
        seed=course.seed,
        beta=goal.beta,
        teacher=goal.teacher,
        teacher_top=goal.teacher_top,
        teacher_share=goal.teacher_share,
        checkpoint_every=place.checkpoint_every,
    )


def _member(name: str, value: str, members: type[Member]) -> Member:
    found = next((one for one in members if one.value == value), None)
    if found is None:
        known = ", ".join(str(one.value) for one in members)
        raise ConfigError(f"{name} is {value!r}; it must be one of {known}")
    return found


def _range(name: str, value: str | None) -> list[int] | None:
    """`20-29` as layers; one number is one layer."""
    if value is None:
        return None
    first, _, last = value.partition("-")
    if not first.isdecimal() or not (last or first).isdecimal() or int(last or first) < int(first):
        raise ConfigError(f"{name} is {value!r}; it must be a layer, or the first and the last as 20-29")
    return list(range(int(first), int(last or first) + 1))
