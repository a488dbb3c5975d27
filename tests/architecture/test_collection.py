"""What a call of pytest finds: tests or benchmarks, and the tests also where Unix's modules are missing."""

import importlib.util
import os
import re
import subprocess
import sys

import pytest

from tests.architecture import sources


def collected(*arguments: str) -> tuple[list[str], str]:
    """The ids that a call without paths would run, and all that it said."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    # What no test runs needs no words for its assertions, whose making is half of the time.
    command += ["--assert=plain", *arguments]
    # By itself, also where this test is one of a process beside others: benchmarks complain of those.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST")}
    done = subprocess.run(
        command, cwd=sources.ROOT, env=environment,
        capture_output=True, encoding="utf-8", errors="replace", check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    return re.findall(r"^(\w+/[\w/.]+::.*)$", done.stdout, re.M), done.stdout


# All modules of all tests are imported, which takes some machines a minute.
@pytest.mark.timeout(180)
def test_the_tests_are_found_where_unix_is_missing() -> None:
    names, said = collected("-p", "tests.support.without_unix")
    folders = {path.name for path in (sources.ROOT / "tests").iterdir() if list(path.rglob("test_*.py"))}
    assert {name.split("/")[1] for name in names} == folders
    assert {name.split("/")[0] for name in names} == {"tests"}, "benchmarks run where nobody asked for them"
    skipped = set(re.findall(r"^SKIPPED \[\d+\] (\S+?):\d+: ", said, re.M))
    if importlib.util.find_spec("ruvllm_candle") is None:
        # A wheel of its own, which is tested where it is built.
        skipped = {name for name in skipped if not name.startswith("tests/backends/candle/")}
    assert skipped == {
        "tests/attacks/test_operations.py",
        "tests/cli/test_chat_real_model.py",
        "tests/cli/test_chat_screen.py",
        "tests/cli/test_chat_terminal.py",
        "tests/serve/test_process.py",
    }, "whole files that Windows does not test; one more must have a reason"


def test_the_documented_call_runs_the_benchmarks() -> None:
    names, _ = collected("--benchmark-only")
    benches = {path.name for path in (sources.ROOT / "benches").glob("bench_*.py")}
    assert {name.split("::")[0] for name in names} == {f"benches/{name}" for name in benches}


def test_who_names_paths_gets_what_is_there() -> None:
    paths = {"benches/bench_quant.py", "tests/architecture/test_clean.py"}
    names, _ = collected(*sorted(paths))
    assert {name.split("::")[0] for name in names} == paths


def test_the_two_parts_of_the_suite_are_the_whole() -> None:
    """`make test-py` runs what may have company, then what may not."""
    makefile = (sources.ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.findall(r"--alone (\w+)", makefile) == ["never", "only"]
    path = "tests/engine/test_opening.py"
    company, alone = (collected("--alone", part, path)[0] for part in ("never", "only"))
    assert company
    assert alone
    assert sorted(company + alone) == sorted(collected(path)[0])
