"""A sample of mechanical mutants that nobody chose.

Every change that `python_changes` and `rust_changes` find in a part's files gets a number from the seed and
from the text of its line; the lowest ones are the sample. So a change elsewhere in the code draws no other
sample, and another seed draws one that has nothing to do with it.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tests.mutants.changes import Change
from tests.mutants.explained import EXPLAINED
from tests.mutants.mutant import ROOT, Mutant
from tests.mutants.parts import Part
from tests.mutants.python_changes import python_changes
from tests.mutants.rust_changes import rust_changes

__all__ = ["SEED", "drawn", "every_mutant"]

SEED = 15


def drawn(part: Part, seed: int = SEED) -> list[Mutant]:
    """The part's sample."""
    ranked = sorted(every_mutant(part, seed), key=lambda pair: pair[0])
    return [_explained(mutant) for _, mutant in ranked[: part.count]]


def every_mutant(part: Part, seed: int = SEED) -> Iterator[tuple[bytes, Mutant]]:
    """All that could be drawn, each with its number."""
    for path in part.files(ROOT):
        name, source = path.relative_to(ROOT).as_posix(), path.read_text("utf-8")
        seen: Counter[str] = Counter()
        for change in (rust_changes if path.suffix == ".rs" else python_changes)(source):
            mutant = _mutant(name, source, change, part)
            before, after = _lines(source, change)
            key = "\0".join([str(seed), name, before, after])
            yield hashlib.sha256(f"{key}\0{seen[key]}".encode()).digest(), mutant
            seen[key] += 1


def _mutant(name: str, source: str, change: Change, part: Part) -> Mutant:
    """With as many lines before it as make the text occur once."""
    start, end = _borders(source, change)
    while source.count(source[start:end]) > 1:
        start = source.rfind("\n", 0, start - 1) + 1
    text = source[start:end]
    inside = Change(change.start - start, change.end - start, change.replacement)
    return Mutant(name, text, inside.applied(text), part.suite)


def _lines(source: str, change: Change) -> tuple[str, str]:
    start, end = _borders(source, change)
    inside = Change(change.start - start, change.end - start, change.replacement)
    return source[start:end].strip(), inside.applied(source[start:end]).strip()


def _borders(source: str, change: Change) -> tuple[int, int]:
    """Of the whole lines in which the change is, without the last one's end."""
    end = source.find("\n", change.end)
    return source.rfind("\n", 0, change.start) + 1, len(source) if end < 0 else end


def _explained(mutant: Mutant) -> Mutant:
    """With the reason why nothing can notice it, where somebody has written one down."""
    for known in EXPLAINED:
        if known.path == mutant.path and _same(known, mutant):
            return replace(mutant, equivalent=known.equivalent)
    return mutant


def _same(one: Mutant, other: Mutant) -> bool:
    source = Path(ROOT, one.path).read_text("utf-8")
    return one.applied(source) == other.applied(source)
