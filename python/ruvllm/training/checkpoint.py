"""What a run needs to go on to the very same result: a folder beside the adapter that is to be.

    state.safetensors       the adapter, AdamW's moments, the best adapter so far, and where the run stands
    prepared.safetensors    what was asked of a model before training, once: a teacher's words, or references

Each is replaced whole (`whole_file`), so that a process that is killed leaves the last one or the one before.
Which examples a step takes follows from the seed (`order.py`), so that no generator's state is kept.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

import ruvllm._native as _native
from ruvllm.errors import IoError, TrainingError
from ruvllm.training.config import TrainingConfig
from ruvllm.training.encoding import Example
from ruvllm.whole_file import replacing

__all__ = ["Checkpoint", "Identity", "RunState", "Values", "digest_of", "settings_as_json"]

STATE, PREPARED = "state.safetensors", "prepared.safetensors"
VERSION = 1
KINDS = ("value", "first_moment", "second_moment")
BEST = "best"
# These may change between two parts of a run, for they change no number.
FREE = ("checkpoint_every",)
# How far the loss of one model may be from itself on another processor, of its size.
SAME_LOSS = 0.01

Values = dict[str, NDArray[np.float32]]


@dataclass(slots=True)
class RunState:
    """Where a run stands.

    Attributes:
        step: Steps taken.
        tokens: Computed for gradients.
        seconds: Trained.
        best_loss: Of the held-out examples, the lowest so far.
        best_step: Where that was.
        looks_since_best: Looks at them since.
        first_loss: Of one example by the model itself, by which it is known again.
        train_loss_before: By the model itself.
        held_out_loss_before: The same.
    """

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    best_loss: float | None = None
    best_step: int = 0
    looks_since_best: int = 0
    first_loss: float = 0.0
    train_loss_before: float = 0.0
    held_out_loss_before: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a checkpoint belongs to: only the same goes on to the same result."""

    settings: Mapping[str, Any]
    data: str

    def check(self, stored: Mapping[str, Any]) -> None:
        """Raise `TrainingError` that names what is not the same."""
        before, now = stored["settings"], self.settings
        other = [name for name in now if name not in FREE and before.get(name) != now[name]]
        if other:
            told = ", ".join(f"{name} was {before.get(name)!r} and is {now[name]!r}" for name in other)
            raise TrainingError(f"the checkpoint is of a run with other settings: {told}")
        if stored["data"] != self.data:
            raise TrainingError(
                "the checkpoint is of a run on other examples, or of a model with another tokenizer"
            )


class Checkpoint:
    """The folder of a run."""

    def __init__(self, folder: Path, identity: Identity) -> None:
        self.folder = folder
        self._identity = identity

    @property
    def exists(self) -> bool:
        """Whether a run has left something to go on from."""
        return (self.folder / STATE).is_file()

    def save(self, state: RunState, training: "_native.Training", best: Values) -> None:
        """Write where the run stands; when this returns it is on the disk."""
        tensors = {
            f"{kind}:{name}": training.read(name, kind) for kind in KINDS for name, _ in training.tensors()
        }
        tensors |= {f"{BEST}:{name}": values for name, values in best.items()}
        told = {"version": VERSION, "state": asdict(state), **asdict(self._identity)}
        self._write(STATE, tensors, told)

    def load(self, training: "_native.Training", first_loss: float) -> tuple[RunState, Values]:
        """Give the adapter what was saved; gives where the run stood, and the best adapter until then.

        `first_loss` is that of the same example by the model as it is here.
        """
        tensors, told = self._read(STATE)
        if told.get("version") != VERSION:
            raise TrainingError(f"{self.folder / STATE} is of another version of ruvllm")
        self._identity.check(told)
        state = RunState(**{one.name: told["state"][one.name] for one in fields(RunState)})
        _check_same_model(state.first_loss, first_loss)
        wanted = dict(training.tensors())
        for kind in KINDS:
            for name, shape in wanted.items():
                training.write(name, kind, self._tensor(tensors, f"{kind}:{name}", shape))
        best = {
            name: self._tensor(tensors, f"{BEST}:{name}", shape)
            for name, shape in wanted.items()
            if f"{BEST}:{name}" in tensors
        }
        # AdamW's moments are corrected by how many steps they have seen.
        training.set_steps(state.step)
        return state, best

    def save_prepared(self, tensors: Mapping[str, NDArray[Any]]) -> None:
        """Write what was asked of a model before training."""
        self._write(PREPARED, tensors, {"version": VERSION, **asdict(self._identity)})

    def load_prepared(self) -> dict[str, NDArray[Any]]:
        """What was asked then."""
        tensors, told = self._read(PREPARED)
        self._identity.check(told)
        return tensors

    def _tensor(
        self, tensors: Mapping[str, NDArray[Any]], key: str, shape: tuple[int, int]
    ) -> NDArray[np.float32]:
        found = tensors.get(key)
        if found is None or found.shape != tuple(shape) or found.dtype != np.float32:
            raise TrainingError(f"{self.folder / STATE} has no {key} of shape {list(shape)}")
        return found

    def _write(self, name: str, tensors: Mapping[str, NDArray[Any]], told: Mapping[str, Any]) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with replacing(self.folder / name) as file:
                file.write(save(dict(tensors), metadata={"run": json.dumps(told)}))
        except OSError as error:
            raise IoError(f"{self.folder / name} cannot be written: {error.strerror or error}") from error

    def _read(self, name: str) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        path = self.folder / name
        try:
            with safe_open(path, framework="numpy") as file:
                told = json.loads((file.metadata() or {}).get("run", ""))
                return {key: file.get_tensor(key) for key in file.keys()}, told  # noqa: SIM118 - no mapping
        except OSError as error:
            raise IoError(f"{path} cannot be read: {error.strerror or error}") from error
        except (SafetensorError, ValueError) as error:
            raise TrainingError(f"{path} is no whole checkpoint: {error}") from error


def _check_same_model(before: float, now: float) -> None:
    """Another processor rounds otherwise; another model is elsewhere altogether."""
    if abs(before - now) > SAME_LOSS * max(abs(before), 1.0):
        raise TrainingError(
            f"the checkpoint is of a run on another model: the first example's loss was {before:.4f} by it, "
            f"and is {now:.4f} by this one"
        )


def settings_as_json(config: TrainingConfig) -> dict[str, Any]:
    """A run's settings as plain values."""
    plain: dict[str, Any] = json.loads(json.dumps(asdict(config), default=lambda one: one.value))
    return plain


def digest_of(examples: Sequence[Example]) -> str:
    """Changes with any token of any example, and with what is learned of them."""
    digest = sha256()
    for one in examples:
        digest.update(len(one.tokens).to_bytes(8, "little"))
        for array in (one.tokens, one.ids, one.shares):
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
