"""What the tests of a mutant say, with tests that pass, fail, hang, or cannot even be built."""

import shutil
from pathlib import Path

import pytest

from tests.mutants.mutant import python_mutant
from tests.mutants.report import Report, Trial
from tests.mutants.suites import CargoTargets, Outcome, PytestFiles, Verdict

SECONDS = 60.0


@pytest.mark.parametrize(
    ("source", "most_seconds", "verdict"),
    [
        ("def test_it(): pass", SECONDS, Verdict(Outcome.PASSED)),
        ("def test_it(): assert 0", SECONDS, Verdict(Outcome.FAILED, "tests/test_it.py::test_it")),
        ("import nowhere", SECONDS, Verdict(Outcome.FAILED, "tests/test_it.py")),
        ("import time\ndef test_it(): time.sleep(600)", 5.0, Verdict(Outcome.ENDLESS)),
    ],
)
def test_files_of_pytest(tmp_path: Path, source: str, most_seconds: float, verdict: Verdict) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_it.py").write_text(source)
    assert PytestFiles(("test_it.py",)).run(tmp_path, most_seconds) == verdict


def test_a_call_that_pytest_does_not_understand_is_no_outcome(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="pytest ended with 4"):
        PytestFiles(("missing.py",)).run(tmp_path, SECONDS)


@pytest.mark.skipif(shutil.which("cargo") is None, reason="builds a crate")
def test_targets_of_cargo(tmp_path: Path) -> None:
    crate = tmp_path / "tree"
    for name, text in {
        "Cargo.toml": '[package]\nname = "tiny"\nversion = "0.1.0"\nedition = "2024"\n',
        "src/lib.rs": "pub fn one() -> u8 { 1 }",
        "tests/it.rs": "#[test] fn it() { assert_eq!(tiny::one(), 1); }",
    }.items():
        (crate / name).parent.mkdir(parents=True, exist_ok=True)
        (crate / name).write_text(text)
    suite, source = CargoTargets("tiny", ("lib", "it")), crate / "src/lib.rs"
    assert suite.run(crate, SECONDS) == Verdict(Outcome.PASSED)
    source.write_text("pub fn one() -> u8 { 2 }")
    assert suite.run(crate, SECONDS) == Verdict(Outcome.FAILED, "it")
    source.write_text("pub fn one() -> u8 { loop {} }")
    assert suite.run(crate, 5.0) == Verdict(Outcome.ENDLESS)
    source.write_text("pub fn one() -> u8 { 1.5 }")
    assert suite.run(crate, SECONDS) == Verdict(Outcome.UNBUILT)


def trial(part: str, outcome: Outcome | None, *, is_drawn: bool = False) -> Trial:
    verdict = None if outcome is None else Verdict(outcome)
    return Trial(part, is_drawn, python_mutant("a.py", "a", "b", ("test_a.py",)), verdict, 1.0)


def test_what_does_not_compile_is_never_noticed() -> None:
    report = Report(seed=1)
    report.add(trial("pool", Outcome.FAILED))
    report.add(trial("pool", Outcome.UNBUILT, is_drawn=True))
    assert report.exit_code == 0
    assert report.figures()["whole"]["drawn"] == {"noticed": 0, "all": 0}
    report.add(trial("pool", Outcome.UNBUILT))
    assert report.exit_code == 2


def test_the_figures_of_parts_and_of_the_whole() -> None:
    report = Report(seed=1)
    for one in (
        trial("pool", Outcome.FAILED),
        trial("pool", Outcome.PASSED, is_drawn=True),
        trial("pool", None, is_drawn=True),
        trial("engine", Outcome.ENDLESS, is_drawn=True),
    ):
        report.add(one)
    figures = report.figures()
    assert report.exit_code == 1
    assert figures["parts"]["pool"]["share"] == 0.5
    assert figures["parts"]["engine"]["share"] == 1.0
    assert figures["whole"] == {
        "listed": {"noticed": 1, "all": 1},
        "drawn": {"noticed": 1, "all": 2},
        "share": 2 / 3,
        "explained": 1,
    }
    assert [line.split()[0] for line in str(report).splitlines()] == ["listed", "pool", "engine", "whole"]
