"""The arithmetic of `make bench-company`, and that its busy programs are busy, and gone afterwards."""

import os
import time

import pytest

from benches.company import busy, fair_share, kept_of


@pytest.mark.parametrize(
    ("processors", "threads", "programs", "share"),
    [(2, 2, 0, 1.0), (2, 2, 1, 2 / 3), (2, 2, 2, 0.5), (2, 2, 4, 1 / 3), (8, 2, 4, 1.0), (4, 4, 12, 0.25)],
)
def test_a_fair_share(processors: int, threads: int, programs: int, share: float) -> None:
    assert fair_share(processors, threads, programs) == pytest.approx(share)


def test_what_was_kept_of_it() -> None:
    """Half the speed of which half is fair is all of it; one run that others disturbed does not count."""
    assert kept_of([1.0, 1.0, 9.0], [2.0, 2.0, 2.0], 0.5) == pytest.approx(1.0)
    assert kept_of([1.0], [4.0], 0.5) == pytest.approx(0.5)


@pytest.mark.alone
@pytest.mark.skipif(not hasattr(os, "wait3"), reason="this system does not tell what children have used")
def test_busy_programs_compute_until_they_are_ended() -> None:
    def used() -> float:
        times = os.times()
        return times.children_user + times.children_system

    before = used()
    with busy(2):
        time.sleep(0.5)
    after = used()
    assert after - before > 0.2
    time.sleep(0.1)
    assert used() == after
