"""The mutants are in date: each place is there once, the tests are there, samples can be drawn."""

import ast
from collections.abc import Iterator

import pytest

from tests.mutants.drawn import drawn, every_mutant
from tests.mutants.explained import EXPLAINED
from tests.mutants.listed_python import PYTHON_MUTANTS
from tests.mutants.listed_rust import RUST_MUTANTS
from tests.mutants.mutant import ROOT, Mutant
from tests.mutants.parts import PARTS, Part

# Where a change that nobody notices decides about somebody's answer.
NAMED = {"scheduler", "sampler", "engine", "prefix cache", "pool", "server limits"}


def listed() -> Iterator[Mutant]:
    for group in (*PYTHON_MUTANTS.values(), *RUST_MUTANTS.values()):
        yield from group


def changed(mutant: Mutant) -> str:
    """The file with the change, which a Python file must still be after it."""
    source = mutant.applied((ROOT / mutant.path).read_text("utf-8"))
    if mutant.path.endswith(".py"):
        ast.parse(source)
    return source


@pytest.mark.parametrize("mutant", [*listed()], ids=str)
def test_a_mutant_changes_one_place_and_names_its_tests(mutant: Mutant) -> None:
    assert changed(mutant) != (ROOT / mutant.path).read_text("utf-8")
    assert not mutant.suite.missing(ROOT)


def test_what_is_explained_could_be_drawn() -> None:
    """An explanation of a change that no sample holds explains nothing, and neither does an empty one."""
    known = {}
    for part in PARTS:
        for _, mutant in every_mutant(part):
            known.setdefault(mutant.path, []).append(mutant)
    for explained in EXPLAINED:
        assert explained.equivalent
        assert changed(explained) in map(changed, known[explained.path]), str(explained)


@pytest.mark.parametrize("part", PARTS, ids=lambda part: f"{part.name}: {part.sources[0]}")
def test_a_part_has_files_and_tests_and_a_sample(part: Part) -> None:
    assert not part.suite.missing(ROOT)
    sample = drawn(part)
    assert len(sample) == part.count == len({changed(mutant) for mutant in sample})


def test_the_named_parts_are_drawn_from() -> None:
    assert {part.name for part in PARTS} >= NAMED
