"""Merges against the methods' own words, number by number; exports against what was exported."""

import itertools
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ruvllm import LLM
from ruvllm.adapters import MERGE_METHODS, AdapterWeights, Part, merge, read_peft, write_peft
from ruvllm.errors import AdapterError, ConfigError
from tests.adapters.peft_files import config, tensors, write
from tests.conftest import FIXTURES

OUTPUTS, INPUTS = 6, 5
Matrix = NDArray[np.float32]


def adapter(seed: int, rank: int = 2, module: str = "q_proj") -> AdapterWeights:
    numbers = np.random.default_rng(seed)
    a, b = numbers.standard_normal((rank, INPUTS)), numbers.standard_normal((OUTPUTS, rank))
    part = Part(layer=1, module=module, a=a.astype("f4"), b=b.astype("f4"), scale=0.5 + seed)
    return AdapterWeights(parts=(part,))


def added(weights: AdapterWeights, module: str = "q_proj") -> Matrix:
    found = [part for part in weights.parts if part.module == module]
    if not found:
        return np.zeros((OUTPUTS, INPUTS), np.float32)
    (part,) = found
    return np.asarray(part.scale * (part.b.astype("f8") @ part.a), np.float32)


FULL = min(OUTPUTS, INPUTS)


@given(st.lists(st.floats(0.1, 3), min_size=1, max_size=4))
def test_linear_methods_are_exact(weights: list[float]) -> None:
    several = [adapter(seed, rank=1 + seed) for seed in range(len(weights))]
    pairs = list(zip(several, weights, strict=True))
    total = sum(weight * added(one) for one, weight in pairs)
    for method, expected in (
        ("task_arithmetic", total),
        ("linear", total / sum(weights)),
        ("average", sum(added(one) for one in several) / len(several)),
    ):
        merged = merge(pairs, method)  # type: ignore[arg-type]
        np.testing.assert_allclose(added(merged), expected, atol=2e-5)
        assert merged.max_rank == sum(range(1, 1 + len(weights)))


def ties_by_hand(deltas: list[Matrix], weights: list[float], kept: int) -> Matrix:
    """Trim, elect, merge: as the paper has it, one number at a time."""
    trimmed = []
    for delta in deltas:
        order = sorted(np.ndindex(delta.shape), key=lambda place: -abs(delta[place]))
        trimmed.append({place: float(delta[place]) for place in order[:kept]})
    merged = np.zeros_like(deltas[0])
    for place in np.ndindex(merged.shape):
        values = [(one.get(place, 0.0), weight) for one, weight in zip(trimmed, weights, strict=True)]
        sign = math.copysign(1, sum(value * weight for value, weight in values))
        agreeing = [(value, weight) for value, weight in values if value * sign > 0]
        if agreeing:
            mass = sum(weight for _, weight in agreeing)
            merged[place] = sum(value * weight for value, weight in agreeing) / mass
    return merged


@pytest.mark.parametrize("density", [0.2, 0.5, 1.0])
def test_ties(density: float) -> None:
    several, weights = [adapter(seed) for seed in range(3)], [1.0, 0.5, 2.0]
    merged = merge(list(zip(several, weights, strict=True)), "ties", density=density, rank=FULL)
    kept = round(density * OUTPUTS * INPUTS)
    expected = ties_by_hand([added(one) for one in several], weights, kept)
    np.testing.assert_allclose(added(merged), expected, atol=1e-5)


@pytest.mark.parametrize("part", [0.0, 0.25, 0.5, 1.0])
def test_slerp_keeps_to_the_sphere(part: float) -> None:
    """Between two of one length all have that length, and the angle is divided."""
    first, second = adapter(1), adapter(2)
    scale = float(np.linalg.norm(added(first)) / np.linalg.norm(added(second)))
    (own,) = second.parts
    second = AdapterWeights(
        parts=(Part(layer=1, module="q_proj", a=own.a, b=own.b, scale=own.scale * scale),)
    )
    merged = added(merge([(first, 1 - part), (second, part)], "slerp", rank=FULL))

    def angle(one: Matrix, other: Matrix) -> float:
        cosine = np.vdot(one, other) / (np.linalg.norm(one) * np.linalg.norm(other))
        return float(np.arccos(np.clip(cosine, -1, 1)))

    assert np.linalg.norm(merged) == pytest.approx(np.linalg.norm(added(first)), rel=1e-4)
    whole = angle(added(first), added(second))
    assert angle(added(first), merged) == pytest.approx(part * whole, abs=2e-3)


def test_dare_drops_and_makes_up_for_it() -> None:
    one = adapter(3)
    found = added(merge([(one, 2.0)], "dare", density=0.25, rank=FULL, seed=5))
    kept = np.abs(found) > 1e-4
    assert 0 < kept.sum() < found.size / 2
    np.testing.assert_allclose(found[kept], (2.0 * added(one) / 0.25)[kept], rtol=1e-3, atol=1e-4)
    # What is to be expected is what there was.
    runs = [added(merge([(one, 1.0)], "dare", density=0.5, rank=FULL, seed=seed)) for seed in range(400)]
    np.testing.assert_allclose(np.mean(runs, axis=0), added(one), atol=0.15 * np.abs(added(one)).max())
    again = merge([(one, 2.0)], "dare", density=0.25, rank=FULL, seed=5)
    assert np.array_equal(added(again), found)


def test_dare_ties_with_nothing_dropped_is_ties() -> None:
    pairs = [(adapter(seed), 1.0) for seed in range(3)]
    first = merge(pairs, "dare_ties", density=1.0, rank=FULL)
    np.testing.assert_allclose(added(first), added(merge(pairs, "ties", density=1.0, rank=FULL)), atol=1e-5)
    other = merge(pairs, "dare_ties", density=0.5, rank=FULL)
    assert np.abs(added(other) - added(first)).max() > 0.1


@pytest.mark.parametrize("method", MERGE_METHODS)
def test_maps_that_only_one_has_and_ranks_that_differ(method: str) -> None:
    first, second = adapter(1, rank=1), adapter(2, rank=3, module="o_proj")
    merged = merge([(first, 1.0), (second, 1.0)], method, density=1.0)  # type: ignore[arg-type]
    assert merged.modules == ("o_proj", "q_proj")
    factor = {"task_arithmetic": 1.0, "dare": 1.0, "ties": 1.0, "dare_ties": 1.0}.get(method, 0.5)
    np.testing.assert_allclose(added(merged), factor * added(first), atol=1e-4)
    np.testing.assert_allclose(added(merged, "o_proj"), factor * added(second, "o_proj"), atol=1e-4)


def test_the_nearest_of_a_rank() -> None:
    """No matrix of that rank is nearer; what is left are the other singular values."""
    pairs = [(adapter(seed, rank=3), 1.0) for seed in range(2)]
    whole = added(merge(pairs, "ties", density=1.0, rank=FULL))
    short = merge(pairs, "ties", density=1.0, rank=2)
    left = np.linalg.norm(whole - added(short))
    assert left == pytest.approx(np.linalg.norm(np.linalg.svd(whole)[1][2:]), rel=1e-3)
    assert short.max_rank == 2


def test_what_cannot_be_merged() -> None:
    one = adapter(1)
    wide = Part(layer=1, module="q_proj", a=np.zeros((1, 9), "f4"), b=np.zeros((6, 1), "f4"), scale=1.0)
    refusals: list[tuple[Callable[[], AdapterWeights], str]] = [
        (lambda: merge([]), "no adapter"),
        (lambda: merge([(one, 1.0)], "sum"), "method"),  # type: ignore[arg-type]
        (lambda: merge([(one, 1.0)], "slerp"), "there are 1"),
        (lambda: merge([(one, 1.0)], "ties", density=0.0), "density"),
        (lambda: merge([(one, float("nan"))]), "finite"),
        (lambda: merge([(one, 1.0), (one, -1.0)]), "sum 0"),
        (lambda: merge([(one, 1.0), (AdapterWeights(parts=(wide,)), 1.0)]), "different models"),
    ]
    for refused, words in refusals:
        with pytest.raises((ConfigError, AdapterError), match=words):
            refused()


@pytest.fixture(scope="module")
def llm() -> Iterator[LLM]:
    with LLM(FIXTURES / "models" / "llama-gqa", activations="f32") as llm:
        yield llm


def test_a_merged_adapter_is_what_its_parts_are_together(llm: LLM, tmp_path: Path) -> None:
    """Of different ranks and modules, and over the way of an export."""
    first = write(tmp_path / "first", config(), tensors())
    modules = ("k_proj", "down_proj", "q_proj")
    second = write(tmp_path / "second", config(r=2, target_modules=modules), tensors(modules, rank=2, seed=1))
    llm.adapters.load("first", first)
    llm.adapters.load("second", second)
    llm.adapters.merge("both", {"first": 0.7, "second": -0.4}, "task_arithmetic")
    ids = [3, 1, 4, 1, 5, 9, 2, 6]
    together = llm.logits(ids, adapter={"first": 0.7, "second": -0.4})
    np.testing.assert_allclose(llm.logits(ids, adapter="both"), together, atol=2e-4)
    assert np.abs(together - llm.logits(ids)).max() > 0.01
    llm.adapters.load("again", llm.adapters.export("both", tmp_path / "both"))
    np.testing.assert_allclose(llm.logits(ids, adapter="again"), together, atol=2e-4)
    with pytest.raises(AdapterError, match="exists"):
        llm.adapters.export("both", tmp_path / "both")
    (first / "adapter_model.safetensors").write_bytes((second / "adapter_model.safetensors").read_bytes())
    with pytest.raises(AdapterError):
        llm.adapters.export("first", tmp_path / "late")


def test_an_export_has_what_peft_reads(tmp_path: Path) -> None:
    """Ranks that differ come back, and the scale is in the numbers."""
    parts = tuple(
        itertools.chain(
            adapter(1, rank=2).parts,
            adapter(0, rank=4, module="down_proj").parts,
            adapter(2, rank=4).parts[:0],
        )
    )
    write_peft(AdapterWeights(parts=parts, base_model="some/base"), tmp_path / "written")
    found = read_peft(tmp_path / "written")
    assert found.base_model == "some/base"
    assert {part.module: part.rank for part in found.parts} == {"q_proj": 2, "down_proj": 4}
    assert all(part.scale == 1 for part in found.parts)
    np.testing.assert_allclose(added(found), added(adapter(1)), atol=1e-6)
