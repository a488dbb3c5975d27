"""`MicroLoRA`: an adapter of rank 1 or 2 that learns from feedback, on vectors or for a loaded model."""

import math
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

import ruvllm._native as _native
from ruvllm._checks import Interval, check_number, check_type
from ruvllm.adapters.micro_config import HasAdapters, MicroLoraConfig
from ruvllm.adapters.micro_values import AdaptFeedback, EwcState, MapName, MicroLoraStats, TargetModule
from ruvllm.adapters.registry import AdapterInfo
from ruvllm.adapters.weights import AdapterWeights, Part
from ruvllm.errors import ConfigError, NotFoundError

__all__ = ["MicroLoRA"]

Vector = NDArray[np.float32]


class MicroLoRA:
    """A small adapter for one or more linear maps, `y += scale * B (A x)`, that learns while it is used.

        micro = MicroLoRA(MicroLoraConfig.for_hidden_dim(4096))
        micro.adapt(x, AdaptFeedback(0.9, gradient, source_module=TargetModule.QProj))
        micro.apply_updates(0.01)
        micro.forward_add(x, TargetModule.QProj, y)

    A new one adds nothing: B is 0. `adapt` adds up gradients, and an update takes one step against the mean
    of each map's; between two updates `forward` gives the same. Vectors are contiguous float32 arrays and are
    read in place. A call that fails has changed nothing. Every method may be called from any thread.

    A map is named by its module; where the config has several layers, by layer and module.
    """

    def __init__(self, config: MicroLoraConfig, *, isa: str | None = None) -> None:
        check_type("config", config, MicroLoraConfig)
        self.config = config
        self._names: tuple[MapName, ...] = tuple(config.maps)
        self._places = {name: place for place, name in enumerate(self._names)}
        maps = [(_spoken(name), *widths) for name, widths in config.maps.items()]
        settings = (config.rank, config.alpha, config.dropout, config.seed)
        self._native = _native.MicroLora(maps, settings, isa)
        self._publishing = threading.Lock()

    def __repr__(self) -> str:
        return f"MicroLoRA(modules={len(self._names)})"

    def forward(self, input: Vector, module: MapName) -> Vector:
        """What the adapter adds to a map's output for this input."""
        return self._native.forward(self._place(module), input)

    def forward_add(self, input: Vector, module: MapName, output: Vector) -> None:
        """Add it to `output`, in place."""
        self._native.forward_add(self._place(module), input, output)

    def adapt(self, input: Vector, feedback: AdaptFeedback) -> bool:
        """Add up what feedback says about the map that had this input; whether it said anything.

        Feedback without a gradient is counted, and nothing is learned from it.
        """
        check_type("feedback", feedback, AdaptFeedback)
        return self._native.adapt(self._places_of(feedback), input, feedback)

    def apply_updates(self, lr: float) -> int:
        """Take one step of this length against the mean gradient of each map; how many adaptations it had."""
        return self._native.apply(check_number("lr", lr, _RATE), 0.0, [])

    def apply_updates_with_ewc(
        self,
        lr: float,
        states: Mapping[MapName, EwcState] | Mapping[TargetModule, EwcState],
        ewc_lambda: float,
    ) -> int:
        """The same, and a step against `ewc_lambda / 2 * sum of fisher * (weight - optimal)^2` of each state.

        That part of the step solves the penalty exactly, so that it ends at the optimum at most. With a
        Fisher of 0 it does nothing; where there are no gradients it pulls alone.
        """
        strength = check_number("ewc_lambda", ewc_lambda, _RATE)
        terms = [self._term(name, state) for name, state in states.items()]
        return self._native.apply(check_number("lr", lr, _RATE), strength, terms)

    def consolidate(
        self, previous: Mapping[Any, EwcState] | None = None, *, decay: float = 0.95
    ) -> dict[MapName, EwcState]:
        """What holds fast what was learned until now; to be called when a task is done.

        The importance is the mean of the squares of each map's gradients since the last call, beside `decay`
        times that of `previous` ones: old tasks fade, and nothing grows with their number.
        """
        check_number("decay", decay, Interval(0, 1))
        before = dict(previous or {})
        for name, state in before.items():
            self._check_state(name, state)
        states: dict[MapName, EwcState] = {}
        for name, (fisher, weights) in zip(self._names, self._native.take_fisher(), strict=True):
            optimal_a, optimal_b = self._matrices(*weights)
            fisher_a, fisher_b = np.zeros_like(optimal_a), np.zeros_like(optimal_b)
            if fisher is not None:
                fisher_a, fisher_b = self._matrices(*fisher)
            if name in before:
                fisher_a = fisher_a + np.float32(decay) * before[name].fisher_a
                fisher_b = fisher_b + np.float32(decay) * before[name].fisher_b
            states[name] = EwcState(
                fisher_a=fisher_a, fisher_b=fisher_b, optimal_a=optimal_a, optimal_b=optimal_b
            )
        return states

    def reset(self) -> None:
        """Make it as new: what it learned, added up and counted is gone."""
        self._native.reset()

    def stats(self) -> MicroLoraStats:
        """What was counted."""
        adaptations, without_gradient, pending, updates, qualities, latencies = self._native.stats()
        feedback = adaptations + without_gradient
        num_parameters = self.config.rank * sum(map(sum, self.config.maps.values()))
        return MicroLoraStats(
            adaptations=adaptations,
            without_gradient=without_gradient,
            pending=pending,
            updates=updates,
            mean_quality=qualities / feedback if feedback else None,
            mean_latency_us=latencies / feedback if feedback else None,
            num_parameters=num_parameters,
            num_bytes=4 * num_parameters,
        )

    def weights(self) -> AdapterWeights:
        """Its matrices as they are now, as an adapter like others.

        Powers of two are moved from the matrices to the scale, so that 16 bits hold small steps as well.
        """
        parts = []
        for name, halves in zip(self._names, self._native.weights(), strict=True):
            layer, module = (0, name) if isinstance(name, TargetModule) else name
            (a, of_a), (b, of_b) = map(_of_magnitude_one, self._matrices(*halves))
            scale = math.ldexp(self._native.scale, of_a + of_b)
            parts.append(Part(layer=layer, module=module.value, a=a, b=b, scale=scale))
        parts.sort(key=lambda part: (part.layer, part.module))
        return AdapterWeights(parts=tuple(parts))

    def publish(self, model: HasAdapters, name: str) -> AdapterInfo:
        """Make a generation of what it is now, and give the name to it; the next request can use it.

        Requests that run keep the generation that they began with. What is adapted and applied later is
        another generation, when it is published.
        """
        # One after the other: a name is loaded once, and the last that is published is the newest.
        with self._publishing:
            adapters, weights = model.adapters, self.weights()
            try:
                adapters.info(name)
            except NotFoundError:
                return adapters.load(name, weights)
            return adapters.replace(name, weights)

    def _place(self, name: MapName) -> int:
        place = self._places.get(name)
        if place is None:
            some = ", ".join(map(_spoken, self._names[:8]))
            raise NotFoundError(f"there is no map {_spoken(name)}; there are {some}")
        return place

    def _places_of(self, feedback: AdaptFeedback) -> list[int]:
        if feedback.source_module is not None:
            return [self._place(feedback.source_module)]
        layers = {None if isinstance(name, TargetModule) else name[0] for name in self._names}
        if len(layers) > 1:
            raise ConfigError(f"feedback has no source_module, and there are maps of {len(layers)} layers")
        return list(self._places.values())

    def _check_state(self, name: MapName, state: EwcState) -> int:
        """Which map a state is of; an error where it does not fit."""
        place = self._place(name)
        check_type(f"the state of {_spoken(name)}", state, EwcState)
        inputs, outputs = self.config.maps[name]
        wanted = (self.config.rank, inputs), (outputs, self.config.rank)
        found = state.fisher_a.shape, state.fisher_b.shape
        if found != wanted:
            raise ConfigError(f"the state of {_spoken(name)} is of shapes {found}; they must be {wanted}")
        return place

    def _term(self, name: MapName, state: EwcState) -> "tuple[int, list[Vector]]":
        """As the extension takes it, with B turned over."""
        place = self._check_state(name, state)
        fisher_b, optimal_b = (np.ascontiguousarray(b.T) for b in (state.fisher_b, state.optimal_b))
        return place, [state.fisher_a, fisher_b, state.optimal_a, optimal_b]

    def _matrices(self, a: Vector, b: Vector) -> tuple[Vector, Vector]:
        """A as `[rank, inputs]` and B as `[outputs, rank]`, from flat ones of which B is turned over."""
        rank = self.config.rank
        return a.reshape(rank, -1), np.ascontiguousarray(b.reshape(rank, -1).T)


_RATE = Interval(0, float(np.finfo(np.float32).max))


def _spoken(name: object) -> str:
    """What messages call a map."""
    if isinstance(name, TargetModule):
        return name.value
    if isinstance(name, tuple) and len(name) == 2 and isinstance(name[1], TargetModule):
        return f"{name[1].value} of layer {name[0]}"
    return repr(name)


def _of_magnitude_one(matrix: Vector) -> tuple[Vector, int]:
    """The matrix, its largest number brought between a half and 1, and the power of two that this took."""
    exponent = math.frexp(float(np.abs(matrix).max()))[1]
    return np.ldexp(matrix, -exponent), exponent
