"""Unsafe code stands in rust/kernels, in the one file mapping of rust/formats, and in the one place where
rust/packs takes in signed compiled kernels; each use has its reason."""

import re
from collections.abc import Iterator
from pathlib import Path

from tests.architecture import sources

# A block, an implementation, a function, an extern block; `unsafe_code` in a lint is another word.
UNSAFE = re.compile(r"(\bpub(?:\(crate\))?\s+)?\bunsafe\b\s*(\{|impl\b|fn\b|extern\b|trait\b)?")
# Mapping a file, and giving pages of the mapping back.
FORMATS_USES = 2
# Taking in compiled kernels, in builds for devices without a compiler; never in the wheel.
PACKS_USE = "rust/packs/src/sandbox/precompiled.rs"
# Tests that count what is allocated need an allocator of their own, which is an unsafe trait.
COUNTING_ALLOCATORS = (
    sources.RUST / "formats" / "tests" / "support" / "allocator.rs",
    sources.RUST / "packs" / "tests" / "embedded" / "memory.rs",
)


def unsafe_uses(path: Path) -> Iterator[tuple[int, str]]:
    """(line number from 1, the comment wanted there) for each use in code."""
    code = sources.strip_comments_and_strings(path.read_text(encoding="utf-8"))
    for match in UNSAFE.finditer(code):
        line = code.count("\n", 0, match.start()) + 1
        if match.group(2) == "fn" and not match.group(1):
            # Private: who calls it stands in the same file; its body's blocks say what they rely on.
            yield line, ""
        else:
            yield line, "# Safety" if match.group(2) in ("fn", "trait") else "SAFETY:"


def comment_above(lines: list[str], number: int) -> str:
    """A line, what of its statement stands higher, and the comments and attributes above that."""
    taken = [lines[number - 1]]
    in_comment = False
    for line in reversed(lines[max(0, number - 40) : number - 1]):
        text = line.strip()
        is_comment = text.startswith(("//", "#[", "#!"))
        if not is_comment and (in_comment or not text or text.endswith((";", "}"))):
            break
        in_comment = in_comment or is_comment
        taken.append(text)
    return "\n".join(taken)


def all_rust_files() -> Iterator[tuple[str, Path]]:
    for crate in sources.crates():
        for path in sorted(crate.rglob("*.rs")):
            if "target" not in path.relative_to(crate).parts:
                yield crate.name, path


def test_only_the_kernels_and_two_places_are_unsafe() -> None:
    uses: dict[str, list[str]] = {}
    for crate, path in all_rust_files():
        if path in COUNTING_ALLOCATORS:
            continue
        for line, _ in unsafe_uses(path):
            uses.setdefault(crate, []).append(f"{path.relative_to(sources.ROOT)}:{line}")
    uses.pop("kernels", None)
    mapping = uses.pop("formats", [])
    assert len(mapping) <= FORMATS_USES, mapping
    assert len({use.rpartition(":")[0] for use in mapping}) <= 1, mapping
    compiled = uses.pop("packs", [])
    assert [use.rpartition(":")[0] for use in compiled] == [PACKS_USE], compiled
    assert not uses, uses


def test_every_unsafe_use_says_why_it_is_sound() -> None:
    wrong = []
    for _, path in all_rust_files():
        lines = path.read_text(encoding="utf-8").splitlines()
        for number, wanted in unsafe_uses(path):
            if wanted not in comment_above(lines, number):
                wrong.append(f"{path.relative_to(sources.ROOT)}:{number} has no {wanted!r} comment")
    assert not wrong, "\n".join(wrong)


# What sends the reader to somebody else's reason, whatever it adds.
EMPTY = re.compile(
    r"(?:see (?:the )?\w+|as (?:above|below|before|there)|the caller's(?: contract)?)\s*(?:[.;,]|$)", re.I
)


def reasons(source: str) -> Iterator[tuple[int, str]]:
    """(line from 1, text) of each `SAFETY` comment, over as many lines as it has."""
    lines = source.splitlines()
    for number, line in enumerate(lines, 1):
        _, found, text = line.partition("// SAFETY")
        if not found:
            continue
        for more in lines[number:]:
            if not more.strip().startswith("//"):
                break
            text += " " + more.strip().removeprefix("//").strip()
        yield number, text.partition(":")[2].strip()


def is_empty(reason: str) -> bool:
    return not reason or EMPTY.match(reason) is not None


def test_every_reason_is_a_block_s_own() -> None:
    wrong = [
        f"{path.relative_to(sources.ROOT)}:{number}: {text}"
        for _, path in all_rust_files()
        for number, text in reasons(path.read_text(encoding="utf-8"))
        if is_empty(text)
    ]
    assert not wrong, "\n".join(wrong)


def test_the_reading_of_reasons() -> None:
    source = "// SAFETY: the caller's.\nlet a = 1;\n// SAFETY: the caller has\n// the row.\nunsafe {}\n"
    found = list(reasons(source))
    assert found == [(1, "the caller's."), (3, "the caller has the row.")]
    assert [is_empty(text) for _, text in found] == [True, False]
    assert all(map(is_empty, ["as above; the row fits.", "see the impl.", "the caller's contract", ""]))
    assert not is_empty("the caller's pointer has as many.")


def test_the_other_crates_deny_it() -> None:
    workspace = (sources.ROOT / "Cargo.toml").read_text(encoding="utf-8")
    assert 'unsafe_code = "deny"' in workspace
    for crate in sources.crates():
        manifest = (crate / "Cargo.toml").read_text(encoding="utf-8")
        assert re.search(r"^\[lints\]\nworkspace = true$", manifest, re.M), crate.name
