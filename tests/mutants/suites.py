"""How the tests of a mutant run: files of pytest, or test targets of a crate."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

__all__ = ["CargoTargets", "Outcome", "PytestFiles", "Suite", "Verdict"]

# pytest: all passed, one failed, and a file that could not even be collected, which a change that breaks an
# import does. A test program of Rust's: all passed, one failed, or it aborted.
PASSED, FAILED, INTERRUPTED = 0, 1, 2
CARGO_FAILED = 101
# Half of what a test may take at most: many a mutant makes one hang.
TEST_SECONDS = 30
FAILED_FILE = re.compile(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", re.M)
FAILED_FUNCTION = re.compile(r"^---- (.+) stdout ----$", re.M)
# The tests run under the settings of `make test-rust`, but for these: no symbols, which take longer to link
# than the crate to compile, and the crate that is changed again and again is optimized less.
CARGO_OPTIONS = (
    "--config=profile.dev.debug=false",
    "--config=profile.dev.package.ruvllm-core.opt-level=1",
    "--quiet",
)


class Outcome(Enum):
    """What the tests said."""

    PASSED = "passed"
    FAILED = "failed"
    # They hung, which is as good as failing.
    ENDLESS = "endless"
    # There is nothing to test: the compiler refused it.
    UNBUILT = "unbuilt"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome, and the first test that failed, by its name."""

    outcome: Outcome
    failed: str = ""


@dataclass(frozen=True, slots=True)
class PytestFiles:
    """Test files below `tests`."""

    files: tuple[str, ...]

    def missing(self, root: Path) -> list[str]:
        """Those of them that are not there."""
        return [name for name in self.files if not (root / "tests" / name).is_file()]

    def run(self, tree: Path, most_seconds: float) -> Verdict:
        """Run them on a tree's package until one fails."""
        # Without compiled files, which two changes within a second might share; and without what was found
        # before, which tries an earlier mutant's counterexample first.
        environment = {**os.environ, "PYTHONPATH": str(tree / "python"), "PYTHONDONTWRITEBYTECODE": "1"}
        shutil.rmtree(tree / ".hypothesis", ignore_errors=True)
        options = ["-x", "-q", "-p", "no:cacheprovider", "--no-header", f"--timeout={TEST_SECONDS}"]
        command = [sys.executable, "-m", "pytest", *options, *(f"tests/{name}" for name in self.files)]
        code, output = _call(command, tree, environment, most_seconds)
        if code not in (PASSED, FAILED, INTERRUPTED, None):
            raise RuntimeError(f"pytest ended with {code}:\n{output[-2000:]}")
        return _verdict(code, FAILED_FILE.search(output))


@dataclass(frozen=True, slots=True)
class CargoTargets:
    """Test targets of a crate: `lib`, or the names of files below its `tests`."""

    crate: str
    targets: tuple[str, ...]

    def missing(self, root: Path) -> list[str]:
        """Those of them that are not there."""
        crate = root / "rust" / self.crate.removeprefix("ruvllm-")
        places = {name: (f"tests/{name}.rs", f"tests/{name}/main.rs") for name in self.targets}
        places["lib"] = ("src/lib.rs", "src/lib.rs")
        return [name for name in self.targets if not any((crate / path).is_file() for path in places[name])]

    def run(self, tree: Path, most_seconds: float) -> Verdict:
        """Build them, and run them until a target fails."""
        environment = {**os.environ, "CARGO_TARGET_DIR": str(tree.parent / "target")}
        for found in (tree / "rust").rglob("*proptest-regressions"):
            shutil.rmtree(found) if found.is_dir() else found.unlink()
        targets = ["--lib" if name == "lib" else f"--test={name}" for name in self.targets]
        cargo = os.environ.get("CARGO", "cargo")
        command = [cargo, "test", *CARGO_OPTIONS, f"--package={self.crate}", *targets]
        code, _ = _call([*command, "--no-run"], tree, environment, None)
        if code != PASSED:
            return Verdict(Outcome.UNBUILT)
        code, output = _call(command, tree, environment, most_seconds)
        if code not in (PASSED, CARGO_FAILED, None):
            raise RuntimeError(f"cargo test ended with {code}:\n{output[-2000:]}")
        return _verdict(code, FAILED_FUNCTION.search(output))


Suite = PytestFiles | CargoTargets


def _verdict(code: int | None, failed: re.Match[str] | None) -> Verdict:
    if code is None:
        return Verdict(Outcome.ENDLESS)
    return Verdict(Outcome.PASSED if code == PASSED else Outcome.FAILED, failed[1] if failed else "")


def _call(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], most_seconds: float | None
) -> tuple[int | None, str]:
    """Run a program and all that it starts; its exit code, `None` where it did not end, and its output."""
    with subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=most_seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return None, ""
    return process.returncode, output.decode(errors="replace")
