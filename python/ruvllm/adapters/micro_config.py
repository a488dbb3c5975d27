"""The shape of a `MicroLoRA`: which maps, how wide, and how it learns."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

from ruvllm._checks import Interval, check_integer, check_number, check_type
from ruvllm.adapters.micro_values import MapName, TargetModule, check_map_name
from ruvllm.adapters.registry import Adapters
from ruvllm.errors import ConfigError

__all__ = ["HasAdapters", "MicroLoraConfig"]

MAX_RANK = 2
# Wider than any model's feed-forward half.
MAX_FEATURES = 2**20
_DEFAULT_TARGETS = (TargetModule.QProj, TargetModule.VProj)


class HasAdapters(Protocol):
    """A loaded model."""

    @property
    def adapters(self) -> Adapters:
        """Those that requests may name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MicroLoraConfig:
    """How a `MicroLoRA` is made.

    >>> MicroLoraConfig.for_hidden_dim(4096).rank
    2

    One pair of widths fits all `target_modules` by itself. In a model it does not: keys and values of grouped
    queries are narrower, and the feed-forward half is wider. There `for_model` fills in `shapes`.

    Attributes:
        in_features: Inputs of each map.
        out_features: Outputs of each map.
        rank: 1 or 2.
        alpha: Over the rank, what the product is multiplied with.
        dropout: The share of inputs that a gradient leaves out, each by chance; `forward` leaves out none.
        target_modules: The maps.
        gradient_checkpointing: Whether a gradient is computed of the input alone, with nothing kept from
            `forward`. That is so always, and costs a product of the rank's numbers.
        seed: What A begins with, and what dropout leaves out, follow from it.
        shapes: Inputs and outputs of each map by its name, in place of the three above.
    """

    in_features: int = 768
    out_features: int = 768
    rank: int = 2
    alpha: float = 4.0
    dropout: float = 0.0
    target_modules: tuple[TargetModule, ...] = _DEFAULT_TARGETS
    gradient_checkpointing: bool = False
    seed: int = 0
    shapes: Mapping[MapName, tuple[int, int]] | None = None

    def __post_init__(self) -> None:
        check_integer("rank", self.rank, 1, MAX_RANK)
        check_number("alpha", self.alpha, Interval(-1e6, 1e6))
        check_number("dropout", self.dropout, Interval(0, 1, high_included=False))
        check_type("gradient_checkpointing", self.gradient_checkpointing, bool)
        check_integer("seed", self.seed, 0, 2**64 - 1)
        object.__setattr__(self, "target_modules", _modules(self.target_modules))
        for name in ("in_features", "out_features"):
            check_integer(name, getattr(self, name), 1, MAX_FEATURES)
        if self.shapes is not None:
            object.__setattr__(self, "shapes", MappingProxyType(_checked(self.shapes)))

    @classmethod
    def for_hidden_dim(cls, hidden_dim: int) -> "MicroLoraConfig":
        """For maps of the hidden state to itself, with rank 2."""
        return cls(in_features=hidden_dim, out_features=hidden_dim, rank=2)

    @classmethod
    def for_model(
        cls,
        model: HasAdapters,
        *,
        target_modules: Iterable[TargetModule] = _DEFAULT_TARGETS,
        layers: Iterable[int] | None = None,
        **settings: Any,
    ) -> "MicroLoraConfig":
        """For a loaded model: each map has its true widths, in each layer or in those of `layers`.

            config = MicroLoraConfig.for_model(llm, target_modules=[TargetModule.VProj], layers=[11], rank=1)

        `settings` are further attributes. The maps are named by layer and module.
        """
        known = model.adapters.map_shapes()
        count = 1 + max(layer for layer, _ in known)
        chosen = range(count) if layers is None else [check_integer("a layer", one, 0) for one in layers]
        beyond = [layer for layer in chosen if layer >= count]
        if beyond:
            raise ConfigError(f"layers has {beyond[0]}; the model has {count} layers, from 0 on")
        targets = _modules(target_modules)
        shapes: dict[MapName, tuple[int, int]] = {
            (layer, module): known[layer, module.value] for layer in chosen for module in targets
        }
        return cls(target_modules=targets, shapes=shapes, **settings)

    @property
    def maps(self) -> Mapping[MapName, tuple[int, int]]:
        """Inputs and outputs of each map, by its name."""
        if self.shapes is not None:
            return self.shapes
        return dict.fromkeys(self.target_modules, (self.in_features, self.out_features))


def _modules(modules: Iterable[TargetModule]) -> tuple[TargetModule, ...]:
    targets = tuple(dict.fromkeys(modules))
    if not targets or not all(isinstance(module, TargetModule) for module in targets):
        raise ConfigError(f"target_modules is {targets!r}; it must be some of TargetModule")
    return targets


def _checked(shapes: Mapping[MapName, tuple[int, int]]) -> dict[MapName, tuple[int, int]]:
    if not shapes:
        raise ConfigError("shapes is empty; there must be a map")
    checked: dict[MapName, tuple[int, int]] = {}
    for name, (inputs, outputs) in shapes.items():
        widths = (
            check_integer(f"the inputs of {name}", inputs, 1, MAX_FEATURES),
            check_integer(f"the outputs of {name}", outputs, 1, MAX_FEATURES),
        )
        checked[check_map_name("a name in shapes", name)] = widths
    return checked
