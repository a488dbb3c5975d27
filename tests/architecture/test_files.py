"""One way to write a file: what else of the package could leave half a one, or follow a link, is here."""

import ast
from pathlib import Path

import pytest

from tests.architecture import sources

# Whatever makes or replaces files by itself, as the last part of a call's name.
WRITERS = {
    "write_text", "write_bytes", "rename", "renames", "mkstemp", "NamedTemporaryFile", "TemporaryFile",
    "symlink_to", "hardlink_to", "link", "symlink", "copy", "copy2", "copyfile", "copytree",
    "move", "touch",
}  # fmt: skip
# Opens for writing that keep nothing, or what nobody else reads.
ALLOWED = {
    ("hub/pip_download.py", "open"): "the log of a process, in a scratch folder",
    ("serve/running.py", "open"): "the device that keeps nothing",
    ("packs/store.py", "copyfile"): "into a folder that whole_file places",
    ("backends/mistralrs/backend.py", "write_text"): "in a scratch folder, for the one who loads the model",
    ("cli/chat_terminal.py", "touch"): "the history, to which lines are added",
}


def writes(path: Path) -> list[str]:
    """Calls that write files, by name."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        function = node.func
        name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
        constants = [one.value for one in ast.walk(node) if isinstance(one, ast.Constant)]
        opens = name in ("open", "fdopen") and any(
            isinstance(mode, str) and 0 < len(mode) <= 3 and set(mode) & set("wax+") for mode in constants
        )
        flags = {one.attr for one in ast.walk(node) if isinstance(one, ast.Attribute)}
        is_of_files = isinstance(function, ast.Attribute) and ast.unparse(function.value) in ("os", "shutil")
        plain = {"copy", "move", "link", "rename"}
        if opens or "O_CREAT" in flags or (name in WRITERS and (name not in plain or is_of_files)):
            found.append(name)
        elif name == "replace" and len(node.args) == 1 and not node.keywords:
            found.append(name)  # a path's; a text's has two arguments, a dataclass's has names
        elif name == "replace" and is_of_files:
            found.append(name)
    return found


@pytest.mark.parametrize("path", sources.python_files(), ids=lambda path: sources.module_name(path))
def test_files_are_written_in_one_place(path: Path) -> None:
    name = path.relative_to(sources.PACKAGE).as_posix()
    if name == "whole_file.py":
        assert writes(path)
        return
    wrong = [call for call in writes(path) if (name, call) not in ALLOWED]
    assert not wrong, f"{name} writes a file by itself: {wrong}; whole_file does it whole"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("open(path, 'wb')", ["open"]),
        ("path.open('a')", ["open"]),
        ("path.open('rb')", []),
        ("open(path, mode='r+')", ["open"]),
        ("Path(name).write_text(text)", ["write_text"]),
        ("tempfile.NamedTemporaryFile()", ["NamedTemporaryFile"]),
        ("os.open(path, os.O_WRONLY | os.O_CREAT)", ["open"]),
        ("written.replace(target)", ["replace"]),
        ("os.replace(written, target)", ["replace"]),
        ("text.replace('a', 'b')", []),
        ("replace(settings, top_k=1)", []),
        ("os.rename(a, b)", ["rename"]),
        ("messages.copy()", []),
    ],
)
def test_what_counts_as_writing(source: str, expected: list[str], tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(source, encoding="utf-8")
    assert writes(path) == expected
