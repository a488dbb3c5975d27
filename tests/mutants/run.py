"""Make each listed mutant in a copy of the tree and run the tests that must notice it: `make test-mutants`.

The working tree is read and never written. First the tests run as they are: those that fail by themselves
notice nothing. A mutant is noticed where a test fails, or where the tests do not end; one that survives is a
feature that could be taken out without anybody seeing it. `MUTANTS=admission` runs those whose line has the
word.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.mutants.listed import MUTANTS
from tests.mutants.mutant import ROOT, Mutant

# Far more than any of the named files takes by itself; whoever is not done by then hangs.
MOST_SECONDS = 300.0
PASSED, FAILED = 0, 1
# What pytest says where a file could not even be collected, which a change that breaks an import does.
INTERRUPTED = 2


def copy_tree(target: Path) -> None:
    """Copy what git knows or would add, and the extension."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout.decode().split("\0")
    extensions = [str(path.relative_to(ROOT)) for path in (ROOT / "python/ruvllm").glob("_native*.so")]
    for name in [*filter(None, names), *extensions]:
        source = ROOT / name
        if source.is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name)


def run_tests(tree: Path, tests: Iterable[str]) -> int | None:
    """Run test files of a tree until one fails; pytest's exit code, `None` where it did not end."""
    # Without compiled files, which two changes within a second might share.
    environment = {**os.environ, "PYTHONPATH": str(tree / "python"), "PYTHONDONTWRITEBYTECODE": "1"}
    options = ["-x", "-q", "-p", "no:cacheprovider", "--no-header"]
    command = [sys.executable, "-m", "pytest", *options, *(f"tests/{name}" for name in tests)]
    try:
        done = subprocess.run(
            command, cwd=tree, env=environment, capture_output=True, timeout=MOST_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return None
    if done.returncode not in (PASSED, FAILED, INTERRUPTED):
        raise RuntimeError(f"pytest ended with {done.returncode}:\n{done.stdout.decode()[-2000:]}")
    return done.returncode


def is_noticed(tree: Path, mutant: Mutant) -> bool:
    """Make the mutant, run its tests, and undo it."""
    path = tree / mutant.path
    source = path.read_text("utf-8")
    path.write_text(mutant.applied(source), "utf-8")
    try:
        return run_tests(tree, mutant.tests) != PASSED
    finally:
        path.write_text(source, "utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the mutants that are asked for, and say how many were noticed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*", help="run those whose line has one of these words; all without")
    words = parser.parse_args(arguments).words
    mutants = [one for one in MUTANTS if not words or any(word in str(one) for word in words)]
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        tree = Path(folder)
        copy_tree(tree)
        tests = sorted({name for one in mutants for name in one.tests})
        if run_tests(tree, tests) != PASSED:
            print("the tests fail as they are: they can notice nothing", file=sys.stderr)
            return 2
        survivors = []
        for mutant in mutants:
            began = time.monotonic()
            noticed = is_noticed(tree, mutant)
            word = "noticed " if noticed else "explained" if mutant.equivalent else "SURVIVES"
            print(f"{word}  {time.monotonic() - began:5.1f} s  {mutant}", flush=True)
            if not noticed and not mutant.equivalent:
                survivors.append(mutant)
    counted = [one for one in mutants if not one.equivalent]
    share = (len(counted) - len(survivors)) / max(1, len(counted))
    print(f"{len(counted) - len(survivors)} of {len(counted)} mutants were noticed: {share:.0%}")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
