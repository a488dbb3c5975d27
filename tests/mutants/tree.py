"""A copy of the working tree to change and run, kept so that what was compiled is not compiled again."""

import fcntl
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.mutants.mutant import ROOT, Mutant

__all__ = ["changed", "copied_tree"]

# Git ignores it and `make clean` removes it. Beside the tree stands cargo's target folder.
FOLDER = ROOT / ".bench" / "mutants"


@contextmanager
def copied_tree() -> Iterator[Path]:
    """What git knows or would add, and the extension; nobody else's until the end."""
    tree = FOLDER / "tree"
    tree.mkdir(parents=True, exist_ok=True)
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _copy_to(tree)
        yield tree


@contextmanager
def changed(tree: Path, mutant: Mutant) -> Iterator[None]:
    """The tree with a mutant in it."""
    path = tree / mutant.path
    source = path.read_text("utf-8")
    path.write_text(mutant.applied(source), "utf-8")
    try:
        yield
    finally:
        path.write_text(source, "utf-8")


def _copy_to(tree: Path) -> None:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout.decode().split("\0")
    extensions = [str(path.relative_to(ROOT)) for path in (ROOT / "python/ruvllm").glob("_native*.so")]
    wanted = {name for name in [*filter(None, names), *extensions] if (ROOT / name).is_file()}
    for path in tree.rglob("*"):
        if path.is_file() and path.relative_to(tree).as_posix() not in wanted:
            path.unlink()
    for name in wanted:
        source, target = ROOT / name, tree / name
        # A file that is as it was keeps its time, by which cargo tells what to compile.
        content = source.read_bytes()
        if not target.is_file() or target.read_bytes() != content:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            shutil.copymode(source, target)
