"""The list of mutants is in date: each place is there once, and so are the tests that must notice."""

import pytest

from tests.mutants.listed import MUTANTS
from tests.mutants.mutant import ROOT, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_a_mutant_changes_one_place_and_names_its_tests(mutant: Mutant) -> None:
    source = (ROOT / mutant.path).read_text("utf-8")
    compile(mutant.applied(source), mutant.path, "exec")
    assert mutant.tests
    assert not [name for name in mutant.tests if not (ROOT / "tests" / name).is_file()]
