"""How long whoever is told to come back should wait."""

import pytest

from ruvllm.runtime.pace import Pace


def test_a_wait_follows_from_the_speed_that_was_measured() -> None:
    pace = Pace()
    # 200 tokens a second until something was measured.
    assert pace.wait_seconds(2000) == 10
    pace.note(steps=2, rows=500, seconds=0.5)
    assert pace.wait_seconds(2000) == 2
    assert pace.wait_seconds(5500) == 5.5
    for _ in range(100):
        pace.note(steps=10, rows=10, seconds=1.0)
    assert pace.wait_seconds(300) == pytest.approx(30, rel=1e-3)
    # Within reason: nobody comes back at once, and nobody is sent away for hours.
    assert pace.wait_seconds(1) == 1
    assert pace.wait_seconds(10**9) == 600


def test_what_ran_nothing_is_no_measure() -> None:
    pace = Pace()
    for steps, rows, seconds in ((0, 5, 1.0), (1, 0, 1.0), (1, 5, 0.0)):
        pace.note(steps=steps, rows=rows, seconds=seconds)
    assert pace.wait_seconds(2000) == 10
