"""Make mutants in a copy of the tree, one by one, and run the tests that must notice: `make test-mutants`.

The listed ones take out what somebody thought of; the drawn ones are a sample of mechanical changes that
nobody chose. The working tree is read and never written. First the tests run as they are: those that fail by
themselves notice nothing. A mutant is noticed where a test fails, or where the tests do not end; one that
survives is a feature that could be taken out without anybody seeing it. A drawn one that the compiler refuses
is none; a listed one is an error of the list. `MUTANTS=admission` runs those whose line or part has the word.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.drawn import SEED, drawn
from tests.mutants.listed_python import PYTHON_MUTANTS
from tests.mutants.listed_rust import RUST_MUTANTS
from tests.mutants.mutant import Mutant
from tests.mutants.parts import PARTS
from tests.mutants.report import Report, Trial
from tests.mutants.suites import Outcome, Suite
from tests.mutants.tree import changed, copied_tree

# So much longer than without the change may the tests take; whoever is not done by then hangs.
FACTOR, MORE_SECONDS = 5, 60.0
FIRST_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """A mutant, and where it comes from."""

    part: str
    is_drawn: bool
    mutant: Mutant

    def __str__(self) -> str:
        return f"{self.part}: {self.mutant}"


def wanted(seed: int, *, listed: bool) -> Iterator[Wanted]:
    """All that can be run."""
    if listed:
        for mutants in (PYTHON_MUTANTS, RUST_MUTANTS):
            for part, group in mutants.items():
                yield from (Wanted(part, False, mutant) for mutant in group)
    for one in PARTS:
        yield from (Wanted(one.name, True, mutant) for mutant in drawn(one, seed))


def baseline(tree: Path, suites: Sequence[Suite]) -> dict[Suite, float]:
    """How long each suite may take, from what it takes without a change; an error where it fails."""
    most_seconds = {}
    for suite in suites:
        began = time.monotonic()
        verdict = suite.run(tree, FIRST_SECONDS)
        if verdict.outcome is not Outcome.PASSED:
            raise SystemExit(f"{verdict} without any change: {suite} can notice nothing")
        most_seconds[suite] = FACTOR * (time.monotonic() - began) + MORE_SECONDS
    return most_seconds


def run(tree: Path, chosen: Sequence[Wanted]) -> Iterator[Trial]:
    """Try them one by one."""
    suites = list(dict.fromkeys(one.mutant.suite for one in chosen if not one.mutant.equivalent))
    most_seconds = baseline(tree, suites)
    for one in chosen:
        began = time.monotonic()
        verdict = None
        if not one.mutant.equivalent:
            with changed(tree, one.mutant):
                verdict = one.mutant.suite.run(tree, most_seconds[one.mutant.suite])
        yield Trial(one.part, one.is_drawn, one.mutant, verdict, time.monotonic() - began)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the mutants that are asked for, and say how many were noticed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*", help="run those whose line has one of these words; all without")
    parser.add_argument("--seed", type=int, default=SEED, help="of the sample (default: %(default)s)")
    parser.add_argument("--drawn-only", action="store_true", help="the sample without the list")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    options = parser.parse_args(arguments)
    chosen = [
        one
        for one in wanted(options.seed, listed=not options.drawn_only)
        if not options.words or any(word in str(one) for word in options.words)
    ]
    report = Report(options.seed)
    with copied_tree() as tree:
        for trial in run(tree, chosen):
            print(trial, flush=True)
            report.add(trial)
    print(report)
    if options.json:
        options.json.write_text(json.dumps(report.figures(), indent=1), "utf-8")
    return report.exit_code


if __name__ == "__main__":
    sys.exit(main())
