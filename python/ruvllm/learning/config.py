"""How a tenant learns: rates, bounds, and what is kept."""

from dataclasses import dataclass, field

from ruvllm._checks import Interval, check_integer, check_number, check_type
from ruvllm.adapters.micro_config import MicroLoraConfig
from ruvllm.errors import ConfigError
from ruvllm.learning.values import ConsolidationStrategy
from ruvllm.training.config import TrainingConfig, TrainingObjective

__all__ = ["SonaConfig", "SonaLlmConfig"]

_POSITIVE = Interval(0, float("inf"), low_included=False)
_NOT_NEGATIVE = Interval(0, float("inf"))
_SHARE = Interval(0, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class SonaConfig:
    """What bounds learning.

    Attributes:
        micro_lora_rank: The rank of a tenant's adapter on the last hidden state: 1 or 2.
        base_lora_rank: The rank of what the deep loop makes.
        steps: Gradients that one update follows, one after the other.
        max_drift: How far an answer's probabilities may be from those without an adapter, in nats a token; an
            update that would go farther is not made.
        ewc_lambda: How strongly what was learned before holds; 0 lets go of it.
        fisher_decay: What of a number's importance stays at each update; the rest is of the new gradient.
        initial_baseline: The quality that is expected of the first answer.
        baseline_rate: How fast the expected quality follows the feedback.
        max_feedback_per_minute: Feedback beyond it is refused, with an `OverloadedError`.
        max_generations: How many generations are kept to go back to.
        capture_bytes: What answers that wait for feedback, and those that had it, may take.
        capture_tokens: How much of an answer is kept: its first tokens.
        replay_samples: Answers with feedback on which the background loop measures what it made, and at most
            so many of those that the deep loop keeps out of training.
        token_bytes: What the tokens of answers and of what was asked may take, for the deep loop.
    """

    micro_lora_rank: int = 2
    base_lora_rank: int = 8
    steps: int = 2
    max_drift: float = 0.5
    ewc_lambda: float = 0.02
    fisher_decay: float = 0.999
    initial_baseline: float = 0.5
    baseline_rate: float = 0.1
    max_feedback_per_minute: int = 600
    max_generations: int = 32
    capture_bytes: int = 16 << 20
    capture_tokens: int = 512
    replay_samples: int = 32
    token_bytes: int = 4 << 20

    def __post_init__(self) -> None:
        check_integer("micro_lora_rank", self.micro_lora_rank, 1, 2)
        for name in ("base_lora_rank", "steps", "max_feedback_per_minute", "max_generations"):
            check_integer(name, getattr(self, name), 1)
        for name in ("capture_bytes", "capture_tokens", "replay_samples", "token_bytes"):
            check_integer(name, getattr(self, name), 1)
        check_number("max_drift", self.max_drift, _POSITIVE)
        check_number("ewc_lambda", self.ewc_lambda, _NOT_NEGATIVE)
        for name in ("fisher_decay", "initial_baseline", "baseline_rate"):
            check_number(name, getattr(self, name), _SHARE)


@dataclass(frozen=True, slots=True, kw_only=True)
class SonaLlmConfig:
    """How a `SonaLlm` learns.

    Attributes:
        micro_lora: Its rank counts, in place of `sona.micro_lora_rank`; its widths must be the hidden size.
        training: How the deep loop trains; `None` is `TrainingConfig.realtime()` with `sona.base_lora_rank`,
            on answers that were rated 0.5 or better.
        sona: What bounds learning.
        instant_lr: How far feedback moves: the divergence, in nats a token, of an update whose feedback is 1
            away from what was expected. Half as far away moves half as much.
        background_interval_ms: How often the background loop may run.
        background_min_samples: How many answers with feedback it waits for.
        deep_trigger_threshold: The sum of qualities from which on the deep loop is worth it.
        max_pending_samples: How many answers with feedback are kept for the loops.
        consolidation_strategy: How the background loop makes one adapter of many.
    """

    micro_lora: MicroLoraConfig | None = None
    training: TrainingConfig | None = None
    sona: SonaConfig = field(default_factory=SonaConfig)
    instant_lr: float = 0.1
    background_interval_ms: float = 100.0
    background_min_samples: int = 10
    deep_trigger_threshold: float = 100.0
    max_pending_samples: int = 1000
    consolidation_strategy: ConsolidationStrategy = ConsolidationStrategy.EwcMerge

    def __post_init__(self) -> None:
        if self.micro_lora is not None:
            check_type("micro_lora", self.micro_lora, MicroLoraConfig)
        if self.training is not None:
            check_type("training", self.training, TrainingConfig)
            if self.training.objective is TrainingObjective.Dpo:
                raise ConfigError("training.objective is Dpo; the deep loop learns answers, and no pairs")
        check_type("sona", self.sona, SonaConfig)
        check_number("instant_lr", self.instant_lr, _POSITIVE)
        check_number("background_interval_ms", self.background_interval_ms, _NOT_NEGATIVE)
        check_integer("background_min_samples", self.background_min_samples, 1)
        check_number("deep_trigger_threshold", self.deep_trigger_threshold, _POSITIVE)
        check_integer("max_pending_samples", self.max_pending_samples, 1)
        check_type("consolidation_strategy", self.consolidation_strategy, ConsolidationStrategy)

    def rank(self, hidden: int) -> int:
        """The rank of a tenant's adapter, for a model of that hidden size."""
        if self.micro_lora is None:
            return self.sona.micro_lora_rank
        widths = self.micro_lora.in_features, self.micro_lora.out_features
        if widths != (hidden, hidden):
            raise ConfigError(
                f"micro_lora maps {widths[0]} to {widths[1]}; the model's last hidden states have {hidden} "
                "numbers, and both must be that"
            )
        return self.micro_lora.rank
