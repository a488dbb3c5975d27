"""Gradients through every family, and steps, against PyTorch's autograd and its AdamW."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file

from ruvllm import _native
from tests.conftest import FIXTURES

Floats = NDArray[np.float32]

FAMILIES = sorted(path.stem for path in (FIXTURES / "gradients").glob("*.npz"))
ADAPTERS = ("lora-all-r4", "lora-rs-r8")
SPLIT = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
FUSED = ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]
# Positions before it are not counted.
FIRST_COUNTED = 8
# Of a tensor's largest gradient; sums of f32 go in another order.
TOLERANCE = 2e-4


class Recorded:
    """What PyTorch says of one adapter of one model, and that adapter here."""

    def __init__(
        self, base: Path, said: Path, *, alpha: float, threads: int = 2, isa: str | None = None
    ) -> None:
        arrays = dict(np.load(said))
        self.ids = arrays["input_ids"].astype(np.uint32)
        self.loss = float(arrays["loss"])
        self.gradients = self._named(arrays, "grad")
        self.stepped = self._named(arrays, "adamw")
        self.values = self._named(arrays, "value") or {
            key.removeprefix("base_model.model."): values
            for key, values in load_file(said.parent / "adapter" / "adapter_model.safetensors").items()
        }
        model = _native.Model.load(str(base), threads=threads, activations="f32", isa=isa)
        rank = next(values.shape[0] for key, values in self.values.items() if "lora_A" in key)
        modules = FUSED if any("qkv_proj" in key for key in self.values) else SPLIT
        self.training = _native.Training(model, rank=rank, alpha=alpha, modules=modules, seed=1)
        for name, shape in self.training.tensors():
            self.training.write(name, "value", self.values.get(name, np.zeros(shape, np.float32)))

    @staticmethod
    def _named(arrays: dict[str, Floats], kind: str) -> dict[str, Floats]:
        keys = [key for key in arrays if key.startswith(f"{kind}:")]
        return {key.removeprefix(f"{kind}:"): arrays[key] for key in keys}

    def example(self) -> tuple[NDArray[np.uint32], NDArray[np.uint32], Floats]:
        """The mean loss over all that follows, from the first counted position on."""
        shares = np.zeros(len(self.ids), np.float32)
        shares[FIRST_COUNTED:-1] = 1 / (len(self.ids) - 1 - FIRST_COUNTED)
        return self.ids, np.roll(self.ids, -1).copy(), shares

    def check(self) -> None:
        """Loss and gradients are PyTorch's, and nothing else has a gradient."""
        [loss] = self.training.accumulate([self.example()])
        assert loss == pytest.approx(self.loss, abs=1e-5)
        assert set(self.gradients) <= {name for name, _ in self.training.tensors()}
        for name, expected in self.gradients.items():
            found = self.training.read(name, "gradient")
            assert found.shape == expected.shape
            error = np.abs(found - expected).max() / np.abs(expected).max()
            assert error < TOLERANCE, (name, error)


def of_adapter(name: str, base: str = "models/llama-gqa", isa: str | None = None) -> Recorded:
    # Ranks are 4 and 8; the second adapter divides by the root of its rank.
    alpha = {"lora-all-r4": 8.0, "lora-rs-r8": 16 * 8**0.5}[name]
    folder = FIXTURES / "adapters" / name
    return Recorded(FIXTURES / base, folder / "gradients.npz", alpha=alpha, isa=isa)


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_of_every_family_are_pytorchs(family: str) -> None:
    Recorded(FIXTURES / "models" / family, FIXTURES / "gradients" / f"{family}.npz", alpha=4.0).check()


@pytest.mark.parametrize("isa", _native.System.detect().available_isas)
def test_every_instruction_set_gives_them(isa: str) -> None:
    of_adapter("lora-all-r4", isa=isa).check()


def test_a_gguf_files_adapter_has_pefts_order() -> None:
    """Rows of Q and K stand otherwise in that file than in what PEFT adapts."""
    of_adapter("lora-all-r4", base="gguf/llama-gqa.gguf").check()


@pytest.mark.parametrize("name", ADAPTERS)
def test_a_step_is_that_of_adamw(name: str) -> None:
    recorded = of_adapter(name)
    recorded.check()
    norm = recorded.training.step(learning_rate=1e-2, weight_decay=0.01)
    lengths = [np.linalg.norm(values) for values in recorded.gradients.values()]
    assert norm >= np.linalg.norm(lengths) * (1 - 1e-5)
    for key, expected in recorded.stepped.items():
        found = recorded.training.read(key)
        # A first step is as long as the learning rate; the sign of next to nothing is chance.
        sure = np.abs(recorded.gradients[key]) > 1e-4 * np.abs(recorded.gradients[key]).max()
        assert np.abs(found - expected)[sure].max() < 2e-5
        assert not recorded.training.read(key, "gradient").any()
    assert recorded.training.steps == 1
