"""Two states of the sources for gate.py, each with its extension in release: commits, or trees as they are.

A commit is checked out in a worktree of its own, .bench/gate/HASH, and its extension is built by maturin, as
`make build` does it, and put beside its Python sources. What was compiled of other packages is shared
(.bench/gate/target), so a second commit takes the time of our own crates. What is built stays;
`git worktree remove --force .bench/gate/HASH` takes it away.
"""

import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from benches.files import BENCH, ROOT

__all__ = ["GATE", "Build", "of_commit", "of_tree"]

GATE = BENCH / "gate"
HASH_DIGITS, SHOWN_DIGITS = 12, 8
PACKAGE = Path("python") / "ruvllm"
BUILT_SUFFIXES = (".so", ".pyd")


@dataclass(frozen=True, slots=True)
class Build:
    """Sources with their extension; `name` is what a table calls them."""

    name: str
    tree: Path

    @property
    def packages(self) -> Path:
        """The folder from which `ruvllm` is imported."""
        return self.tree / "python"

    @property
    def package(self) -> Path:
        """The package itself."""
        return self.tree / PACKAGE


def of_tree(tree: Path) -> Build:
    """A tree as it is; its extension must be there."""
    tree = tree.resolve()
    if not extensions(tree / PACKAGE):
        raise SystemExit(f"{tree / PACKAGE} has no extension: `make build` there first")
    commit = git("rev-parse", "HEAD", tree=tree)[:SHOWN_DIGITS]
    changed = "+" if git("status", "--porcelain", "--untracked-files=no", tree=tree) else ""
    return Build(f"{tree.name} ({commit}{changed})", tree)


def of_commit(revision: str) -> Build:
    """A commit of this repository, checked out and built where that was not done before."""
    commit = git("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}", tree=ROOT)
    tree = GATE / commit[:HASH_DIGITS]
    if not tree.exists():
        # One that was deleted by hand is still known to git, which would refuse to make it again.
        git("worktree", "prune", tree=ROOT)
        tree.parent.mkdir(parents=True, exist_ok=True)
        git("worktree", "add", "--detach", str(tree), commit, tree=ROOT)
    # Without a mark of its own it is a folder of the repository around it, whose commit git would tell.
    if not (tree / ".git").exists() or git("rev-parse", "HEAD", tree=tree) != commit:
        raise SystemExit(f"{tree} is no checkout of {commit}: remove it")
    if not extensions(tree / PACKAGE):
        build(tree)
    return Build(f"{revision} ({commit[:SHOWN_DIGITS]})", tree)


def extensions(package: Path) -> list[Path]:
    """The compiled module, which has one name a system."""
    return [path for path in package.glob("_native*") if path.suffix in BUILT_SUFFIXES]


def build(tree: Path) -> None:
    """Compile the extension of a tree in release and put it into its package."""
    print(f"building the extension of {tree}", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=GATE) as folder:
        target = ["--target-dir", str(GATE / "target")]
        options = ["--release", "--locked", "--auditwheel", "skip", "--interpreter", sys.executable]
        command = [sys.executable, "-m", "maturin", "build", *options, *target, "--out", folder]
        # Not captured: compiling takes minutes, and whoever waits wants to see it, or its errors.
        if subprocess.run(command, cwd=tree, stdout=sys.stderr, check=False).returncode:
            raise SystemExit(f"the extension of {tree} could not be built")
        (wheel,) = Path(folder).glob("*.whl")
        take_extension(wheel, tree / PACKAGE)


def take_extension(wheel: Path, package: Path) -> None:
    """Put the compiled module of a wheel into a package; it comes to its place whole."""
    with zipfile.ZipFile(wheel) as archive:
        (member,) = (name for name in archive.namelist() if _is_extension(name))
        half = package / "half_an_extension"
        half.write_bytes(archive.read(member))
        half.replace(package / Path(member).name)


def _is_extension(member: str) -> bool:
    path = Path(member)
    return path.parent.name == "ruvllm" and path.name.startswith("_native") and path.suffix in BUILT_SUFFIXES


def git(*arguments: str, tree: Path) -> str:
    """What git answers about a tree."""
    command = ["git", "-C", str(tree), *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        reason = result.stderr.strip() or "it is not known there"
        raise SystemExit(f"git {' '.join(arguments)} in {tree}: {reason}")
    return result.stdout.strip()
