"""Files of a crate do not use one another in circles: each can be read after those that it stands on."""

from pathlib import Path

import pytest

from tests.architecture import rust_paths, sources

# Uses that close a circle and may: (crate, who, whom) and why.
PERMITTED = {
    (
        "core",
        "prefix/radix_tree/growth",
        "prefix/radix_tree",
    ): "the methods of the tree that grow it, in a file of their own",
    (
        "core",
        "prefix/radix_tree/holders",
        "prefix/radix_tree",
    ): "a holder's roots are nodes of the tree that keeps holders",
}


def edges_of(crate: Path) -> set[tuple[str, str]]:
    """(who, whom), as paths without `.rs`; the crate's root is `lib`."""
    files = {module: path.read_text(encoding="utf-8") for module, path in rust_paths.modules(crate).items()}
    return {(name(own), name(used)) for own, used in rust_paths.Crate(files).edges()}


def name(module: rust_paths.Module) -> str:
    return "/".join(module) or "lib"


def told(circle: set[str], edges: set[tuple[str, str]]) -> str:
    inside = [f"{own} -> {used}" for own, used in sorted(edges) if own in circle and used in circle]
    return f"{len(circle)} files: {', '.join(inside)}"


@pytest.mark.parametrize("crate", sources.crates(), ids=lambda crate: crate.name)
def test_files_do_not_use_each_other_in_circles(crate: Path) -> None:
    permitted = {(own, used) for where, own, used in PERMITTED if where == crate.name}
    edges = edges_of(crate) - permitted
    found = [told(circle, edges) for circle in rust_paths.circles(edges)]
    assert not found, "these use each other in a circle:\n" + "\n".join(found)


@pytest.mark.parametrize("entry", PERMITTED, ids=lambda entry: f"{entry[0]}: {entry[1]} -> {entry[2]}")
def test_what_is_permitted_still_closes_a_circle(entry: tuple[str, str, str]) -> None:
    crate, own, used = entry
    edges = edges_of(sources.RUST / crate)
    assert any({own, used} <= circle for circle in rust_paths.circles(edges)), (
        "take the entry out of the table"
    )
    assert (own, used) in edges, "take the entry out of the table"


ROOT = "mod a; mod b; mod facade; pub use facade::Deep; pub struct Top;"


@pytest.mark.parametrize(
    ("source", "used"),
    [
        pytest.param("use crate::b::Thing;", {"b"}, id="an item"),
        pytest.param(
            "use crate::{b::{self, Thing}, facade::{Deep as Other}};", {"b", "facade/deep"}, id="nested"
        ),
        pytest.param("use super::b::Thing;", {"b"}, id="beside it"),
        pytest.param("use super::Top;", {"lib"}, id="of the parent"),
        pytest.param("use crate::facade::Deep;", {"facade/deep"}, id="through a re-export"),
        pytest.param("use crate::Deep;", {"facade/deep"}, id="through two"),
        pytest.param("use crate::facade::*;", {"facade", "facade/deep"}, id="all of a module"),
        pytest.param("fn f() -> crate::b::Thing { }", {"b"}, id="in code"),
        pytest.param(
            "use crate::facade; fn f() { facade::deep::g() }", {"facade/deep"}, id="behind a module's name"
        ),
        pytest.param("use crate::b; fn f() { }", set(), id="a module that is not used"),
        pytest.param("pub use crate::b::Thing;", set(), id="only handed on"),
        pytest.param("pub use crate::b::Thing; fn f(x: Thing) {}", {"b"}, id="handed on and used"),
        pytest.param("mod inner { use super::super::b::Thing; }", {"b"}, id="inside a block"),
        pytest.param("mod inner { use super::*; fn f() { crate::b::g() } }", {"b"}, id="its own module"),
        pytest.param("macro_rules! m { () => { mod $x { use crate::b::Thing; } } }", {"b"}, id="in a macro"),
        pytest.param("#[cfg(test)]\nmod tests {\n    use crate::b::Thing;\n}\n", set(), id="in tests"),
        pytest.param('// crate::b::Thing\nconst X: &str = "crate::b::Thing";', set(), id="in words"),
        pytest.param("use half::b::Thing;", set(), id="of another crate"),
        pytest.param("pub(in crate::b) fn f() {}", set(), id="who may see it"),
    ],
)
def test_the_reading_of_paths(source: str, used: set[str]) -> None:
    files = {
        (): ROOT,
        ("a",): source,
        ("b",): "pub struct Thing;",
        ("facade",): "mod deep; pub use deep::Deep;",
        ("facade", "deep"): "pub struct Deep;",
    }
    edges = {(name(own), name(to)) for own, to in rust_paths.Crate(files).edges()}
    assert {to for own, to in edges if own == "a"} == used


def test_a_child_is_read_from_its_parent() -> None:
    files = {
        ("a",): "mod part;\nuse part::Small;\nfn f() { part::g() }",
        ("a", "part"): "use super::Large;",
    }
    assert rust_paths.Crate(files).edges() == {(("a",), ("a", "part")), (("a", "part"), ("a",))}


def test_circles_are_found_whole() -> None:
    one, two, three, four = [(name,) for name in "1234"]
    edges: set[tuple[rust_paths.Module, rust_paths.Module]] = {
        (one, two),
        (two, three),
        (three, one),
        (three, four),
    }
    assert rust_paths.circles(edges) == [{one, two, three}]
    assert rust_paths.circles(edges - {(three, one)}) == []
