"""Every attack of the threat model is a test of its number, or the security page says why it is none."""

import re
from pathlib import Path

from tests.architecture import sources

ATTACKS = range(1, 63)
RUST_TESTS = sources.RUST / "packs" / "tests" / "attacks"
PYTHON_TESTS = Path(__file__).parent
PAGE = (sources.ROOT / "docs" / "kernel-packs-security.md").read_text(encoding="utf-8")
SECTION = PAGE.split("## The attacks, by number\n")[1].split("\n## ")[0]
# A name counts where it is that of a test which runs, and not of a helper.
RUST_TEST = re.compile(r"^#\[test\]\nfn case_(\d+)_", re.M)
PYTHON_TEST = re.compile(r"^def test_case_(\d+)_", re.M)


def tests_by_file() -> dict[str, set[int]]:
    found = dict.fromkeys(RUST_TESTS.glob("*.rs"), RUST_TEST)
    found |= dict.fromkeys(PYTHON_TESTS.glob("test_*.py"), PYTHON_TEST)
    return {
        path.name: {int(number) for number in pattern.findall(path.read_text(encoding="utf-8"))}
        for path, pattern in found.items()
    }


def documented_places() -> dict[int, str]:
    """The page's table: numbers and ranges, what they are, the file."""
    places: dict[int, str] = {}
    for numbers, file in re.findall(r"^\| ([\d, to]+) \|.*\| `([\w.]+)` \|$", SECTION, re.M):
        for part in numbers.split(", "):
            first, *last = map(int, part.split(" to "))
            places |= dict.fromkeys(range(first, (last or [first])[0] + 1), file)
    return places


def documented_reasons() -> set[int]:
    """Numbers that stand at the head of a line of the list of what cannot be made."""
    return {int(number) for number in re.findall(r"^- (\d+): \w", SECTION, re.M)}


def test_every_number_is_a_test_or_has_a_reason() -> None:
    tested = set().union(*tests_by_file().values())
    assert tested <= set(ATTACKS)
    assert sorted(set(ATTACKS) - tested) == sorted(documented_reasons())


def test_the_page_says_where_each_is() -> None:
    tests, places = tests_by_file(), documented_places()
    assert sorted(places.keys() | documented_reasons()) == list(ATTACKS)
    assert not [f"{number}: not in {file}" for number, file in places.items() if number not in tests[file]]
