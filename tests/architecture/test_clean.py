"""What is tracked belongs in a public repository: nothing left undone, no paths of one machine, no prints."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

from tests.architecture import sources

# Written in pieces, so that this file does not find itself.
UNFINISHED = re.compile(
    r"\b(?:" + "|".join(["TO" + "DO", "FIX" + "ME", "XX" + "X"]) + r")\b|\b(?:todo|unimplemented)!\("
)
MACHINE_PATH = re.compile(
    r"(?<![\w.*}])/(?:" + "|".join(["wo" + "rk", "ro" + "ot", r"home/\w+", r"Users/\w+"]) + r")/"
)
TEXT_SUFFIXES = {"", ".cfg", ".json", ".lock", ".md", ".py", ".pyi", ".rs", ".sh", ".toml", ".txt", ".yml"}


def tracked_files() -> list[Path]:
    """Text files under version control; without git (a source distribution) there is nothing to check."""
    try:
        listing = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=sources.ROOT, capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    paths = [sources.ROOT / name for name in listing.split("\0") if name]
    return [path for path in paths if path.suffix in TEXT_SUFFIXES and path.is_file()]


def findings(pattern: re.Pattern[str]) -> list[str]:
    found = []
    for path in tracked_files():
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if match := pattern.search(line):
                found.append(f"{path.relative_to(sources.ROOT)}:{number} {match.group()!r}")
    return found


def test_nothing_is_left_undone() -> None:
    assert not findings(UNFINISHED)


def test_no_path_of_one_machine() -> None:
    assert not findings(MACHINE_PATH)


def test_the_library_does_not_print() -> None:
    wrong = [
        f"{path.relative_to(sources.ROOT)}:{node.lineno}"
        for path in sources.python_files()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert not wrong
