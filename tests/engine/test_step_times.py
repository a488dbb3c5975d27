"""How long steps take, out of measurements: what must hold whatever was measured."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ruvllm.runtime.step_times import StepTimes

MEASURED = st.lists(st.tuples(st.integers(1, 600), st.floats(1e-4, 10)), min_size=1, max_size=30)


def times_of(measured: list[tuple[int, float]]) -> StepTimes:
    times = StepTimes()
    for rows, seconds in measured:
        times.note(rows, seconds)
    return times


@given(measured=MEASURED, rows=st.integers(1, 2000), more=st.integers(1, 500))
def test_more_rows_never_take_less(measured: list[tuple[int, float]], rows: int, more: int) -> None:
    times = times_of(measured)
    assert 0 < times.seconds(rows) <= times.seconds(rows + more) * (1 + 1e-9)


@given(measured=MEASURED, seconds=st.floats(1e-4, 20))
def test_rows_within_a_time_are_the_most(measured: list[tuple[int, float]], seconds: float) -> None:
    times = times_of(measured)
    rows = times.rows_within(seconds)
    assert rows == 1 or times.seconds(rows) <= seconds * (1 + 1e-5)
    assert times.seconds(rows + 1) >= seconds * (1 - 1e-5)


@pytest.mark.parametrize("rows", [1, 3, 12, 64, 500])
def test_a_straight_line_is_found_again(rows: int) -> None:
    times = times_of([(size, 0.004 + 0.001 * size) for size in (1, 8, 64, 512)])
    assert times.seconds(rows) == pytest.approx(0.004 + 0.001 * rows)
    assert times.rows_within(0.004 + 0.001 * rows) == rows


def test_a_size_that_is_measured_is_the_one_that_is_remembered() -> None:
    """Of the sizes between two powers of two the last ones count, not the first."""
    times = times_of([(8, 1.0), *[(12, 1.5)] * 60])
    assert times.seconds(12) == pytest.approx(1.5, rel=1e-3)


def test_the_last_measurements_count_the_most() -> None:
    times = times_of([(8, 1.0)] * 50 + [(8, 0.1)] * 30)
    assert 0.1 <= times.seconds(8) < 0.11


def test_what_says_nothing_is_left_out() -> None:
    times = times_of([(0, 1.0), (5, 0.0), (5, -1.0)])
    assert not times


def test_one_measurement_far_from_all_others_counts_little() -> None:
    times = times_of([*[(8, 1.0)] * 5, (8, 100.0)])
    assert times.seconds(8) < 1.5
    # What stays so is believed.
    assert times_of([*[(8, 1.0)] * 5, *[(8, 3.0)] * 20]).seconds(8) == pytest.approx(3, rel=0.01)


def test_a_size_that_was_thought_too_slow_is_corrected_by_smaller_ones() -> None:
    times = times_of([(8, 1.0), (16, 50.0), *[(8, 1.0)] * 20])
    assert times.seconds(16) == pytest.approx(2.0, rel=0.01)
    # What a smaller size allows stays as it was measured.
    assert times_of([(8, 1.0), (16, 1.9), *[(8, 1.0)] * 20]).seconds(16) == pytest.approx(1.9)
