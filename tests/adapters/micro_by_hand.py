"""What a MicroLoRA must do, in f64 and without its formulas: gradients are differences of the loss."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ruvllm import AdaptFeedback, EwcState, MicroLoRA, MicroLoraConfig, TargetModule

Matrix = NDArray[np.float64]


def matrices_of(micro: MicroLoRA, module: Any) -> tuple[Matrix, Matrix, float]:
    """A, B and the scale as the extension has them: `weights` moves powers of two between them."""
    a, b = micro._native.weights()[list(micro.config.maps).index(module)]
    rank = micro.config.rank
    scale = micro.config.alpha / rank
    return a.astype("f8").reshape(rank, -1), b.astype("f8").reshape(rank, -1).T.copy(), scale


class ByHand:
    """An adapter's maps, each with its matrices by the names `a` and `b`."""

    def __init__(self, scale: float, weights: dict[Any, dict[str, Matrix]]) -> None:
        self.scale, self.weights = scale, weights
        self.gradients: dict[Any, list[dict[str, Matrix]]] = {name: [] for name in weights}
        self.since: dict[Any, list[dict[str, Matrix]]] = {name: [] for name in weights}
        self.fisher: dict[Any, dict[str, Matrix]] = {}
        self.optimal: dict[Any, dict[str, Matrix]] = {}
        self.pending = 0

    def added(self, name: object, x: NDArray[Any]) -> Matrix:
        """To the output of a map."""
        own = self.weights[name]
        return self.scale * (own["b"] @ (own["a"] @ x.astype("f8")))

    def magnitude(self, name: object, x: NDArray[Any]) -> float:
        """Of what is added up, however little of it is left."""
        own = {half: np.abs(matrix) for half, matrix in self.weights[name].items()}
        return float((abs(self.scale) * own["b"] @ (own["a"] @ np.abs(x))).max())

    def adapt(self, names: list[Any], x: NDArray[Any], gradient: NDArray[Any]) -> None:
        """The loss is `gradient . y`; twice linear, so that the difference over any distance is its slope."""
        self.pending += 1
        for name in names:
            slopes = {}
            for half, matrix in self.weights[name].items():
                slopes[half] = slope = np.empty_like(matrix)
                for place in np.ndindex(matrix.shape):
                    kept, sides = matrix[place], []
                    for distance in (0.5, -0.5):
                        matrix[place] = kept + distance
                        sides.append(float(gradient.astype("f8") @ self.added(name, x)))
                    matrix[place] = kept
                    slope[place] = sides[0] - sides[1]
            self.gradients[name].append(slopes)
            self.since[name].append(slopes)

    def apply(self, rate: float, strength: float | None = None) -> None:
        """Under a penalty, to the mean of the step's end and the optimum, each with its parabola's weight."""
        for name, weights in self.weights.items():
            for half, matrix in weights.items():
                gathered = [one[half] for one in self.gradients[name]]
                target = matrix - rate * np.mean(gathered, axis=0) if gathered else matrix
                if strength is not None and name in self.fisher:
                    held = rate * strength * self.fisher[name][half]
                    target = (target + held * self.optimal[name][half]) / (1 + held)
                weights[half] = target
            self.gradients[name] = []
        self.pending = 0

    def consolidate(self, decay: float) -> None:
        """The mean square of all gradients since the last time."""
        for name, weights in self.weights.items():
            new = {half: np.zeros_like(matrix) for half, matrix in weights.items()}
            for half in new:
                gathered = [one[half] ** 2 for one in self.since[name]]
                if gathered:
                    new[half] = np.mean(gathered, axis=0)
                if name in self.fisher:
                    new[half] = new[half] + decay * self.fisher[name][half]
            self.fisher[name], self.since[name] = new, []
            self.optimal[name] = {half: matrix.copy() for half, matrix in weights.items()}


def by_hand(micro: MicroLoRA) -> ByHand:
    """From what an adapter is now."""
    weights = {}
    for name in micro.config.maps:
        a, b, scale = matrices_of(micro, name)
        weights[name] = {"a": a, "b": b}
    return ByHand(scale, weights)


class Task:
    """A direction in which the output shall move for some inputs; the loss is half the squared distance."""

    def __init__(self, seed: int) -> None:
        numbers = np.random.default_rng(seed)
        shared = np.random.default_rng(0).standard_normal(12)
        self._inputs = (shared + 1.5 * numbers.standard_normal((6, 12))).astype("f4")
        self._wanted = numbers.standard_normal(10).astype("f4")

    @staticmethod
    def adapter() -> MicroLoRA:
        """One that both tasks fit."""
        shape = {"in_features": 12, "out_features": 10}
        return MicroLoRA(MicroLoraConfig(rank=2, target_modules=(TargetModule.OProj,), **shape))

    def loss(self, micro: MicroLoRA) -> float:
        """The mean of all inputs."""
        outputs = np.stack([micro.forward(x, TargetModule.OProj) for x in self._inputs])
        return float(((outputs - self._wanted) ** 2).sum(axis=-1).mean() / 2)

    def learn(
        self, micro: MicroLoRA, steps: int, states: "dict[Any, EwcState] | None" = None, strength: Any = None
    ) -> None:
        """With true gradients, and held by `states` where `strength` says how much."""
        for _ in range(steps):
            for x in self._inputs:
                gradient = micro.forward(x, TargetModule.OProj) - self._wanted
                micro.adapt(x, AdaptFeedback(1.0, gradient))
            if strength is None:
                micro.apply_updates(0.01)
            else:
                micro.apply_updates_with_ewc(0.01, states or {}, strength)
