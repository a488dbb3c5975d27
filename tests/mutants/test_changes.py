"""What mechanical changes are found, and that nothing else is; and which ones a sample takes."""

from itertools import pairwise

import pytest

from tests.mutants.drawn import drawn, every_mutant
from tests.mutants.parts import PARTS
from tests.mutants.python_changes import python_changes
from tests.mutants.rust_changes import rust_changes


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a < b", ["a <= b"]),
        ("a is not b", ["a is b"]),
        ("a not in (b)", ["a in (b)"]),
        ("(a) + (b)", ["(a) - (b)"]),
        ("a and b and c", ["a or b and c", "a and b or c"]),
        ("not a", ["a"]),
        ("min(a, b)", ["max(a, b)", "pass"]),
        ("x = 5", ["x = 6"]),
        ("x = True", ["x = False"]),
        ("a += b", ["a -= b", "pass"]),
        ("self.a = b", ["pass"]),
        ("a = b", []),
        ("f(a)", ["pass"]),
        ("é = a - b", ["é = a + b"]),
        ("if a:\n    return b", ["if (not (a)):\n    return b", "if a:\n    pass"]),
        ("a if b else c", ["a if (not (b)) else c"]),
        ("while a:\n    break", ["while (not (a)):\n    break", "while a:\n    pass"]),
        ("raise E", ["pass"]),
        ("return a", []),
        # What decides nothing.
        ('"""The first of 2."""', []),
        ("import a", []),
        ('x = f"{a + 1}"', []),
        ("def f(a: 'int < 3') -> 2: ...", []),
        ("logger.info(a + 1)", []),
        ("if TYPE_CHECKING:\n    x = 1", []),
    ],
)
def test_changes_of_python(source: str, expected: list[str]) -> None:
    found = [change.applied(source) for change in python_changes(source)]
    assert sorted(found) == sorted(expected)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a < b", ["a <= b"]),
        ("a && b || c", ["a || b || c", "a && b && c"]),
        ("a += b", ["a -= b"]),
        ("a.min(b)", ["a.max(b)"]),
        ("[0; 16]", ["[1; 16]", "[0; 17]"]),
        ("x.0 as u8", []),
        ("1.5", ["2.5"]),
        ("(!a)", ["(a)"]),
        ("assert!(a)", []),
        ("if a {", ["if !(a) {"]),
        ("if let Some(a) = b {", []),
        ("{\n    f(a);\n}", ["{\n    \n}"]),
        ("{\n    return;\n}", ["{\n    \n}"]),
        ("{\n    let a = b;\n}", []),
        ("f(\n    a);\n", []),
        # What decides nothing.
        ("// 1 < 2", []),
        ('"1 < 2"', []),
        ("#[repr(align(64))]", []),
        ("debug_assert!(a < b);", []),
        ("Vec<'a, T>", []),
        ("#[cfg(test)]\nmod tests {\n    const A: u8 = 1;\n}\n", []),
    ],
)
def test_changes_of_rust(source: str, expected: list[str]) -> None:
    found = [change.applied(source) for change in rust_changes(source)]
    assert sorted(found) == sorted(expected)


def test_a_sample_is_the_same_each_time_and_another_with_another_seed() -> None:
    part = max(PARTS, key=lambda part: part.count)
    first, again, other = (list(map(str, drawn(part, seed))) for seed in (1, 1, 2))
    assert first == again
    assert len(set(first) & set(other)) < len(first) / 2


def test_a_sample_prefers_no_file_and_no_line() -> None:
    """The numbers of a part's changes stand in no order with the places of the changes."""
    part = max(PARTS, key=lambda part: part.count)
    numbers = [number for number, _ in every_mutant(part)]
    assert len(set(numbers)) == len(numbers) > 100
    rising = sum(one < other for one, other in pairwise(numbers)) / len(numbers)
    assert 0.4 < rising < 0.6
