"""What goes into a `MicroLoRA` and comes out of it: the maps it changes, feedback, importance, counters."""

import enum
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ruvllm._checks import Interval, check_integer, check_number
from ruvllm.errors import ConfigError

__all__ = ["AdaptFeedback", "EwcState", "MapName", "MicroLoraStats", "TargetModule", "check_map_name"]


class TargetModule(enum.Enum):
    """A linear map of a layer; its value is PEFT's name for it.

    >>> TargetModule.QProj.value
    'q_proj'
    """

    QProj = "q_proj"
    KProj = "k_proj"
    VProj = "v_proj"
    OProj = "o_proj"
    GateProj = "gate_proj"
    UpProj = "up_proj"
    DownProj = "down_proj"


# A map of the only layer, or a layer and its map.
MapName: TypeAlias = TargetModule | tuple[int, TargetModule]


def check_map_name(name: str, value: object) -> MapName:
    """The value as the name of a map; `ConfigError` otherwise."""
    if isinstance(value, TargetModule):
        return value
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], TargetModule):
        return check_integer(f"the layer of {name}", value[0], 0), value[1]
    raise ConfigError(f"{name} is {value!r}; it must be a TargetModule, or a layer and a TargetModule")


@dataclass(frozen=True, slots=True, eq=False)
class AdaptFeedback:
    """What one answer says of an adapter.

    >>> AdaptFeedback.from_quality(0.8).gradient_estimate is None
    True

    Attributes:
        quality: From 0 to 1: the gradient is multiplied with it.
        gradient_estimate: The loss's gradient at the map's output, one number for each; `None` where nobody
            knows it. Such feedback is counted and changes nothing: a quality alone says how good an answer
            was, and not what would have made it better.
        reward: The gradient is multiplied with it, too, where there is one; one below 0 turns it round.
        latency_us: How long the answer took; it is counted.
        source_module: Whose output the gradient is of. `None` says all that the adapter has in its one layer.
        session_id: Whose answer it was, for who keeps feedback; the adapter does not look at it.
    """

    quality: float
    gradient_estimate: NDArray[np.float32] | None = None
    reward: float | None = None
    latency_us: int = 0
    source_module: MapName | None = None
    session_id: str | None = None

    def __post_init__(self) -> None:
        check_number("quality", self.quality, Interval(0, 1))
        if self.gradient_estimate is not None:
            object.__setattr__(
                self, "gradient_estimate", _floats("gradient_estimate", self.gradient_estimate, 1)
            )
        if self.reward is not None:
            check_number("reward", self.reward, Interval(-_LARGEST, _LARGEST))
        check_integer("latency_us", self.latency_us, 0, 2**63 - 1)
        if self.source_module is not None:
            check_map_name("source_module", self.source_module)

    @classmethod
    def from_quality(cls, quality: float) -> "AdaptFeedback":
        """A quality, and nothing from which to learn."""
        return cls(quality)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EwcState:
    """What holds a map's matrices where an earlier task left them (elastic weight consolidation).

    `MicroLoRA.consolidate` makes them.

    Attributes:
        fisher_a: How important each number of A was, 0 or more, `[rank, inputs]`: the mean of the squares of
            its gradients.
        fisher_b: The same of B, `[outputs, rank]`.
        optimal_a: A when the task was learned.
        optimal_b: B likewise.
    """

    fisher_a: NDArray[np.float32]
    fisher_b: NDArray[np.float32]
    optimal_a: NDArray[np.float32]
    optimal_b: NDArray[np.float32]

    def __post_init__(self) -> None:
        for name in ("fisher_a", "fisher_b", "optimal_a", "optimal_b"):
            object.__setattr__(self, name, _floats(name, getattr(self, name), 2))
        for half in "ab":
            fisher, optimal = getattr(self, f"fisher_{half}"), getattr(self, f"optimal_{half}")
            if fisher.shape != optimal.shape:
                raise ConfigError(
                    f"fisher_{half} is of shape {fisher.shape} and optimal_{half} of {optimal.shape};"
                    " they must be the same"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class MicroLoraStats:
    """What a `MicroLoRA` counted since it was made, or reset.

    Attributes:
        adaptations: Feedback whose gradient was added up.
        without_gradient: Feedback that had none, and changed nothing.
        pending: Of the former, what no update has taken yet.
        updates: How often updates were applied.
        mean_quality: Of all feedback; `None` where there was none.
        mean_latency_us: Of all feedback; `None` where there was none.
        num_parameters: Numbers of all matrices.
        num_bytes: What they take.
    """

    adaptations: int
    without_gradient: int
    pending: int
    updates: int
    mean_quality: float | None
    mean_latency_us: float | None
    num_parameters: int
    num_bytes: int


# Of an f32.
_LARGEST = float(np.finfo(np.float32).max)


def _floats(name: str, values: ArrayLike, dimensions: int) -> NDArray[np.float32]:
    """Values side by side in 32 bits; those that are so already are not copied."""
    try:
        with np.errstate(over="ignore"):
            array: NDArray[Any] = np.ascontiguousarray(values, np.float32)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{name} cannot be float32 values: {error}") from error
    if array.ndim != dimensions:
        raise ConfigError(f"{name} is of shape {array.shape}; it must have {dimensions} dimensions")
    return array
