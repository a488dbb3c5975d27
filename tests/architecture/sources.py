"""The project's source files as the architecture tests see them.

Run as a program (`make size`), it prints the lines of each crate and package.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RUST = ROOT / "rust"
PACKAGE = ROOT / "python" / "ruvllm"
# A `#[cfg(test)] mod name { ... }` block of Rust; rustfmt's layout is relied on.
TEST_MODULE = re.compile(
    r"^( *)#\[cfg\(test\)\]\n(?: *#\[.*\]\n)*\1mod \w+ \{\n.*?^\1\}\n?", flags=re.M | re.S
)


def crates() -> list[Path]:
    """The folders under rust/ that are workspace members."""
    return sorted(manifest.parent for manifest in RUST.glob("*/Cargo.toml"))


def rust_files(crate: Path) -> list[Path]:
    """The crate's own code: not its integration tests, not modules that are tests only."""
    return sorted(
        path
        for path in (crate / "src").rglob("*.rs")
        if path.stem not in ("tests", "test_support") and "tests" not in path.relative_to(crate).parts[:-1]
    )


def python_files() -> list[Path]:
    """The package's modules."""
    return sorted(PACKAGE.rglob("*.py"))


def without_tests(source: str) -> str:
    """Rust source without the modules that are its tests."""
    return TEST_MODULE.sub("", source)


def code_lines(path: Path) -> int:
    """Lines of a file, tests aside."""
    source = path.read_text(encoding="utf-8")
    return len((without_tests(source) if path.suffix == ".rs" else source).splitlines())


def strip_comments_and_strings(source: str) -> str:
    """Rust source in which comments and string literals are blanked out; all else keeps its place."""
    pattern = re.compile(
        r"""//[^\n]*|/\*.*?\*/|b?r(\#*)".*?"\1|b?"(?:\\.|[^"\\])*"|b?'(?:\\(?:u\{[^}]*\}|.)[^']?|[^'\\\n])'""",
        re.S,
    )
    return pattern.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), source)


def module_name(path: Path) -> str:
    """`ruvllm.cli.main` for python/ruvllm/cli/main.py, `ruvllm.cli` for its __init__.py."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of everything a Python file imports, inside functions too."""
    package = module_name(path).split(".")
    if path.stem != "__init__":
        package.pop()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            target = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                yield node.lineno, f"{target}.{alias.name}"


def main() -> None:
    """Prints a table of sizes."""
    rows = [(f"rust/{crate.name}", rust_files(crate)) for crate in crates()]
    rows.append(("python/ruvllm", python_files()))
    print(f"{'':16}{'files':>6}{'lines':>8}  longest")
    for name, files in rows:
        sizes = {path: code_lines(path) for path in files}
        longest = max(sizes, key=lambda path: sizes[path], default=None)
        tail = f"{sizes[longest]:4} {longest.relative_to(ROOT)}" if longest else ""
        print(f"{name:16}{len(sizes):6}{sum(sizes.values()):8}  {tail}")


if __name__ == "__main__":
    main()
