"""Line budgets: a file is read in one sitting, a function on one screen, the binding only translates."""

import ast
from pathlib import Path

from tests.architecture import sources

FILE_LINES = 400
FUNCTION_LINES = 60
BINDING_LINES = 3727
BINDING_FILE_LINES = 250


def too_long(paths: list[Path], limit: int) -> list[str]:
    lines = {path: sources.code_lines(path) for path in paths}
    return [f"{path.relative_to(sources.ROOT)}: {count}" for path, count in lines.items() if count >= limit]


def test_rust_files_are_short() -> None:
    assert not too_long(
        [path for crate in sources.crates() for path in sources.rust_files(crate)], FILE_LINES
    )


def test_python_files_are_short() -> None:
    assert not too_long(sources.python_files(), FILE_LINES)


def test_the_binding_stays_thin() -> None:
    files = sources.rust_files(sources.RUST / "py")
    assert not too_long(files, BINDING_FILE_LINES + 1)
    assert sum(map(sources.code_lines, files)) <= BINDING_LINES


def test_clippy_holds_the_core_to_the_same_numbers() -> None:
    """Clippy reads the nearest clippy.toml alone; the core's has what it may not call besides."""
    whole = (sources.ROOT / "clippy.toml").read_text(encoding="utf-8")
    core = (sources.RUST / "core" / "clippy.toml").read_text(encoding="utf-8")
    assert set(whole.splitlines()) <= set(core.splitlines())
    assert "disallowed-methods" in core
    for method in ("std::time::Instant::now", "std::env::var", "std::fs::read", "std::fs::File::open"):
        assert f'path = "{method}"' in core


def test_python_functions_fit_on_a_screen() -> None:
    """Clippy holds the Rust ones to the same number (clippy.toml). Docstrings do not count."""
    wrong = []
    for path in sources.python_files():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            documented = ast.get_docstring(node, clean=False) is not None
            first = node.body[0].end_lineno + 1 if documented else node.lineno
            if node.end_lineno - first + 1 > FUNCTION_LINES:
                wrong.append(f"{path.relative_to(sources.ROOT)}:{node.lineno} {node.name}")
    assert not wrong, wrong


def test_test_modules_do_not_count() -> None:
    source = "fn f() {}\n\n#[cfg(test)]\nmod tests {\n    fn g() {\n    }\n}\n"
    assert sources.without_tests(source) == "fn f() {}\n\n"
