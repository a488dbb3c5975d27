"""MicroLoRA on vectors, against f64: gradients by differences, not by the formula that the engine has."""

import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ruvllm import AdaptFeedback, EwcState, MicroLoRA, MicroLoraConfig, TargetModule
from ruvllm._native import System
from tests.adapters.micro_by_hand import Task, by_hand, matrices_of

QUERY, VALUE = TargetModule.QProj, TargetModule.VProj
Vector = NDArray[np.float32]


def vector(seed: int, length: int) -> Vector:
    return np.random.default_rng(seed).standard_normal(length, dtype=np.float32)


def small(rank: int = 2, **settings: Any) -> MicroLoRA:
    return MicroLoRA(MicroLoraConfig(in_features=5, out_features=4, rank=rank, **settings))


def learned(**settings: Any) -> MicroLoRA:
    """One whose B is not 0 any more, and with a gradient that waits."""
    micro = small(**settings)
    for seed in range(3):
        micro.adapt(vector(seed, 5), AdaptFeedback(0.9, vector(10 + seed, 4)))
        micro.apply_updates(0.3)
    micro.adapt(vector(7, 5), AdaptFeedback(0.9, vector(17, 4), latency_us=20))
    return micro


STEPS = st.one_of(
    st.tuples(
        st.just("adapt"),
        st.integers(0, 50),
        st.floats(0, 1, width=32),
        st.one_of(st.none(), st.floats(-2, 2, width=32)),
        st.sampled_from([None, QUERY, VALUE]),
    ),
    st.tuples(st.just("apply"), st.floats(0, 0.25, width=32)),
    st.tuples(st.just("apply_with_ewc"), st.floats(0, 0.25, width=32), st.floats(0, 100, width=32)),
    st.tuples(st.just("consolidate"), st.floats(0, 1, width=32)),
    st.just(("reset",)),
)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 2), st.floats(0.5, 8, width=32), st.integers(0, 9), st.lists(STEPS, max_size=12))
def test_any_sequence_is_what_it_is_by_hand(
    rank: int, alpha: float, seed: int, steps: list[tuple[Any, ...]]
) -> None:
    micro = small(rank, alpha=alpha, seed=seed)
    expected = by_hand(micro)
    states: dict[Any, EwcState] = {}
    for step in steps:
        match step:
            case ("adapt", number, quality, reward, module):
                x, gradient = vector(number, 5), vector(100 + number, 4)
                feedback = AdaptFeedback(quality, gradient, reward, source_module=module)
                assert micro.adapt(x, feedback)
                weight = quality * (1.0 if reward is None else reward)
                expected.adapt([QUERY, VALUE] if module is None else [module], x, weight * gradient)
            case ("apply", rate):
                assert micro.apply_updates(rate) == expected.pending
                expected.apply(rate)
            case ("apply_with_ewc", rate, strength):
                assert micro.apply_updates_with_ewc(rate, states, strength) == expected.pending
                expected.apply(rate, strength)
            case ("consolidate", decay):
                states = micro.consolidate(states, decay=decay)
                expected.consolidate(decay)
            case _:
                micro.reset()
                expected = by_hand(micro)
                states = {}
        assert micro.stats().pending == expected.pending
        for module in (QUERY, VALUE):
            x = vector(99, 5)
            wanted = expected.added(module, x)
            bound = 1e-4 * (1 + expected.magnitude(module, x))
            assert np.abs(micro.forward(x, module) - wanted).max() <= bound
            if states:
                for name in ("fisher_a", "fisher_b"):
                    found, exact = getattr(states[module], name), expected.fisher[module][name[-1]]
                    np.testing.assert_allclose(found, exact, rtol=1e-3, atol=1e-4 * (1 + np.abs(exact).max()))


@pytest.mark.parametrize("isa", System.detect().available_isas)
@pytest.mark.parametrize(
    ("inputs", "outputs", "rank"), [(1, 1, 1), (67, 33, 2), (576, 1531, 2), (4096, 64, 1)]
)
def test_what_is_added_is_the_product(isa: str, inputs: int, outputs: int, rank: int) -> None:
    micro = MicroLoRA(
        MicroLoraConfig(in_features=inputs, out_features=outputs, rank=rank, alpha=3.0), isa=isa
    )
    micro.adapt(vector(1, inputs), AdaptFeedback(1.0, vector(2, outputs)))
    micro.apply_updates(0.1)
    a, b, scale = matrices_of(micro, QUERY)
    x, before = vector(3, inputs), vector(4, outputs)
    exact = scale * (b @ (a @ x.astype("f8")))
    assert np.abs(exact).max() > 0
    magnitude = scale * np.abs(b) @ (np.abs(a) @ np.abs(x))
    assert (np.abs(micro.forward(x, QUERY) - exact) <= 1e-5 * magnitude).all()
    output = before.copy()
    micro.forward_add(x, QUERY, output)
    assert (np.abs(output - (before + exact)) <= 1e-5 * (magnitude + np.abs(before))).all()


def test_a_new_one_adds_nothing_and_a_reset_one_is_new() -> None:
    new, micro = small(seed=3), learned(seed=3)
    x = vector(1, 5)
    assert not new.forward(x, QUERY).any()
    assert micro.forward(x, QUERY).any()
    micro.reset()
    assert not micro.forward(x, QUERY).any()
    assert micro.stats() == new.stats()
    # Nothing that waited is left: the next step of both is the same.
    for one in (new, micro):
        one.adapt(x, AdaptFeedback(1.0, vector(2, 4)))
        one.apply_updates(0.1)
    assert np.array_equal(new.forward(x, VALUE), micro.forward(x, VALUE))
    other = small(seed=4)
    assert not np.array_equal(other.weights().parts[0].a, small(seed=3).weights().parts[0].a)


def test_feedback_without_a_gradient_is_counted_and_changes_nothing() -> None:
    micro = learned()
    before = micro.forward(vector(1, 5), QUERY)
    counted = micro.stats()
    assert micro.adapt(vector(1, 5), AdaptFeedback.from_quality(0.3)) is False
    after = micro.stats()
    assert (after.without_gradient, after.adaptations, after.pending) == (1, counted.adaptations, 1)
    assert after.mean_quality == pytest.approx((4 * 0.9 + 0.3) / 5)
    assert after.mean_latency_us == 4.0
    fresh = learned()
    for one in (micro, fresh):
        assert one.apply_updates(0.1) == 1
    assert np.array_equal(micro.forward(vector(1, 5), QUERY), fresh.forward(vector(1, 5), QUERY))
    assert not np.array_equal(micro.forward(vector(1, 5), QUERY), before)
    assert small().stats().mean_quality is None


def test_a_gradient_changes_the_map_that_it_names() -> None:
    micro = small()
    micro.adapt(vector(1, 5), AdaptFeedback(1.0, vector(2, 4), source_module=VALUE))
    micro.apply_updates(0.1)
    assert not micro.forward(vector(1, 5), QUERY).any()
    assert micro.forward(vector(1, 5), VALUE) @ vector(2, 4) < 0


def test_a_mean_is_applied_and_not_a_sum() -> None:
    once, often = small(), small()
    for micro, times in ((once, 1), (often, 5)):
        for _ in range(times):
            micro.adapt(vector(1, 5), AdaptFeedback(1.0, vector(2, 4)))
        assert micro.apply_updates(0.1) == times
    np.testing.assert_allclose(
        once.forward(vector(3, 5), QUERY), often.forward(vector(3, 5), QUERY), rtol=1e-5
    )


def test_dropout_leaves_inputs_out_of_gradients_alone() -> None:
    """Of A's gradient whole columns are left out; on the mean it is what it is without."""
    config = {"in_features": 64, "out_features": 8, "rank": 1, "seed": 5}
    x, gradient = np.ones(64, np.float32), np.ones(8, np.float32)
    moved = []
    for seed in range(200):
        micro = MicroLoRA(MicroLoraConfig(**config | {"dropout": 0.25, "seed": seed}))
        micro.adapt(x, AdaptFeedback(1.0, gradient))
        micro.apply_updates(0.1)  # B is not 0 any more, so that A has a gradient
        before = matrices_of(micro, QUERY)[0]
        micro.adapt(x, AdaptFeedback(1.0, gradient))
        micro.apply_updates(0.1)
        moved.append(matrices_of(micro, QUERY)[0] != before)
        assert np.array_equal(micro.forward(x, QUERY), micro.forward(x, QUERY))
    assert np.mean(moved) == pytest.approx(0.75, abs=0.02)
    plain = MicroLoRA(MicroLoraConfig(**config))
    plain.adapt(x, AdaptFeedback(1.0, gradient))
    plain.apply_updates(0.1)
    many = MicroLoRA(MicroLoraConfig(**config | {"dropout": 0.25}))
    for _ in range(3000):
        many.adapt(x, AdaptFeedback(1.0, gradient))
    many.apply_updates(0.1)
    scale = np.abs(matrices_of(plain, QUERY)[0]).sum()
    found, wanted = (matrices_of(one, QUERY)[1] for one in (many, plain))
    np.testing.assert_allclose(found, wanted, atol=0.1 * 4 * 0.05 * scale)


@pytest.fixture(scope="module")
def tasks() -> tuple[Task, Task]:
    """The same map asked for two things, of inputs that overlap."""
    return Task(1), Task(2)


def test_what_was_important_is_held_fast(tasks: tuple[Task, Task]) -> None:
    """Without a penalty the second task forgets the first; with one that stays, and the second gets less."""
    first, second = tasks
    losses = {}
    for strength in (None, 0.0, 300.0):
        micro = first.adapter()
        first.learn(micro, 300)
        learned_first = first.loss(micro)
        states = micro.consolidate()
        assert max(state.fisher_b.max() for state in states.values()) > 0
        second.learn(micro, 300, states, strength)
        losses[strength] = (first.loss(micro), second.loss(micro))
    assert losses[0.0] == losses[None]
    assert losses[None][0] > 10 * learned_first
    assert losses[300.0][0] < 0.2 * losses[None][0]
    assert losses[None][1] < losses[300.0][1]


def test_without_importance_nothing_is_held() -> None:
    """Bit for bit, however strong the penalty is."""
    plain, held = learned(), learned()
    states = {
        name: EwcState(
            fisher_a=np.zeros_like(state.fisher_a),
            fisher_b=np.zeros_like(state.fisher_b),
            optimal_a=state.optimal_a + 1,
            optimal_b=state.optimal_b - 1,
        )
        for name, state in small().consolidate().items()
    }
    assert plain.apply_updates(0.2) == held.apply_updates_with_ewc(0.2, states, 1e30) == 1
    for module in (QUERY, VALUE):
        for one, other in zip(matrices_of(plain, module), matrices_of(held, module), strict=True):
            assert np.array_equal(one, other)


@pytest.mark.parametrize("strength", [0.1, 10.0, 1e6, 1e30])
def test_a_penalty_pulls_to_the_old_optimum_and_never_past_it(strength: float) -> None:
    micro = learned()
    states = micro.consolidate()
    for number in range(20):
        micro.adapt(vector(number, 5), AdaptFeedback(1.0, vector(50 + number, 4)))
        micro.apply_updates(0.1)
    before = matrices_of(micro, QUERY)
    # No gradient waits: the penalty is alone.
    assert micro.apply_updates_with_ewc(0.1, {QUERY: states[QUERY]}, strength) == 0
    after, state = matrices_of(micro, QUERY), states[QUERY]
    for place, optimal in ((0, state.optimal_a), (1, state.optimal_b)):
        far, near = before[place] - optimal, after[place] - optimal
        assert (np.abs(near) <= np.abs(far) * (1 + 1e-6)).all()
        assert (near * far >= 0).all()
        assert np.abs(near).sum() < (1 if strength < 1 else 0.8) * np.abs(far).sum()
    if strength >= 1e6:
        np.testing.assert_allclose(after[1], state.optimal_b, atol=1e-4)


def test_importance_fades_and_begins_anew() -> None:
    micro = learned()
    states = micro.consolidate()
    assert not np.array_equal(states[QUERY].fisher_a, np.zeros((2, 5)))
    assert not micro.consolidate()[QUERY].fisher_a.any()
    faded = micro.consolidate(states, decay=0.5)
    np.testing.assert_allclose(faded[QUERY].fisher_a, 0.5 * states[QUERY].fisher_a, rtol=1e-6)


def test_threads_lose_nothing() -> None:
    """What many add up at once is what one adds up, and no result is of half an update."""
    together, alone = small(alpha=2.0), small(alpha=2.0)
    jobs = [(vector(number, 5), AdaptFeedback(0.5, vector(100 + number, 4))) for number in range(400)]
    errors: list[BaseException] = []

    def work(own: list[Any]) -> None:
        try:
            for x, feedback in own:
                together.adapt(x, feedback)
                assert not together.forward(x, QUERY).any()
                together.stats()
        except BaseException as error:  # noqa: BLE001 - told below
            errors.append(error)

    threads = [threading.Thread(target=work, args=(jobs[part::4],)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    for x, feedback in jobs:
        alone.adapt(x, feedback)
    assert together.apply_updates(0.1) == alone.apply_updates(0.1) == 400
    np.testing.assert_allclose(
        together.forward(vector(1, 5), QUERY), alone.forward(vector(1, 5), QUERY), rtol=1e-3
    )


def test_threads_see_whole_updates() -> None:
    """B is tripled and brought back; what is added is all of the one or all of the other."""
    micro = MicroLoRA(MicroLoraConfig(in_features=3000, out_features=3000, rank=1, alpha=1.0))
    x = vector(1, 3000)
    micro.adapt(x, AdaptFeedback(1.0, vector(2, 3000)))
    micro.apply_updates(0.1)
    low, learned = micro.forward(x, QUERY), micro.consolidate()

    def held_at(factor: float) -> dict[Any, EwcState]:
        return {
            name: EwcState(
                fisher_a=np.zeros_like(state.fisher_a),
                fisher_b=np.ones_like(state.fisher_b),
                optimal_a=state.optimal_a,
                optimal_b=factor * state.optimal_b,
            )
            for name, state in learned.items()
        }

    done = threading.Event()
    seen: set[float] = set()

    def look() -> None:
        while not done.is_set():
            factors = micro.forward(x, QUERY) / low
            seen.update(np.round([factors.min(), factors.max()], 2).tolist())

    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    for factor in [3.0, 1.0] * 100:
        micro.apply_updates_with_ewc(1.0, held_at(factor), 1e30)
    done.set()
    for thread in threads:
        thread.join()
    assert 1.0 in seen
    assert seen <= {1.0, 3.0}


def test_small_steps_are_kept_in_16_bits() -> None:
    """An adapter beside quantized weights is kept in f16, whose smallest number is 6e-8."""
    micro = small()
    micro.adapt(vector(1, 5), AdaptFeedback(1.0, 1e-10 * vector(2, 4)))
    micro.apply_updates(0.01)
    for part in micro.weights().parts:
        exact = part.scale * (part.b.astype("f8") @ part.a)
        halves = part.scale * (part.b.astype("f2").astype("f8") @ part.a.astype("f2"))
        assert 0 < np.abs(exact).max() < 1e-10
        np.testing.assert_allclose(halves, exact, atol=2e-3 * np.abs(exact).max())
    expected = micro.forward(vector(3, 5), QUERY)
    (part,) = (part for part in micro.weights().parts if part.module == "q_proj")
    np.testing.assert_allclose(part.scale * part.b @ (part.a @ vector(3, 5)), expected, rtol=1e-4)


def test_the_documented_config() -> None:
    config = MicroLoraConfig.for_hidden_dim(4096)
    assert (config.in_features, config.out_features, config.rank) == (4096, 4096, 2)
    default = MicroLoraConfig()
    assert (default.in_features, default.out_features, default.alpha, default.dropout) == (768, 768, 4.0, 0.0)
    assert set(default.target_modules) == {QUERY, VALUE}
    assert not default.gradient_checkpointing
    assert len(set(TargetModule)) == 7
