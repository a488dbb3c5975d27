"""When a commit counts as slower than another one, and how both come to be built."""

import random
import subprocess
import zipfile
from argparse import Namespace
from pathlib import Path

import pytest

from benches import files, gate, gate_builds
from benches.gate_builds import Build
from benches.gate_verdict import Verdict, judged
from benches.peers.report import Measured
from benches.peers.tasks import Task


def pairs(middle: float, spread: float, count: int = 15) -> list[float]:
    """Ratios that lie evenly around one, in no order."""
    ratios = [middle + spread * (2 * index / (count - 1) - 1) for index in range(count)]
    random.Random(1).shuffle(ratios)
    return ratios


@pytest.mark.parametrize(
    ("ratios", "verdict"),
    [
        (pairs(1.0, 0.001), Verdict.SAME),
        (pairs(1.0, 0.3), Verdict.SAME),
        (pairs(0.985, 0.001), Verdict.SAME),  # slower for sure, and within the tolerance
        (pairs(0.97, 0.001), Verdict.SLOWER),
        (pairs(0.97, 0.05), Verdict.SLOWER),  # three quarters of the pairs lie below one
        (pairs(0.97, 0.08), Verdict.UNCLEAR),  # and here they do not
        (pairs(0.5, 0.3), Verdict.SLOWER),
        (pairs(1.03, 0.05), Verdict.FASTER),
        (pairs(1.03, 0.08), Verdict.UNCLEAR),
        # One pair in which something else ran decides nothing.
        ([*pairs(1.0, 0.01), 0.2], Verdict.SAME),
        ([*pairs(0.96, 0.01), 5.0], Verdict.SLOWER),
    ],
)
def test_a_verdict_needs_the_middle_and_three_quarters(ratios: list[float], verdict: Verdict) -> None:
    assert judged(ratios, 0.02).verdict == verdict


def test_the_tolerance_is_the_callers() -> None:
    assert judged(pairs(0.97, 0.001), 0.05).verdict == Verdict.SAME
    assert judged(pairs(0.985, 0.001), 0.01).verdict == Verdict.SLOWER


def test_quartiles_need_pairs() -> None:
    with pytest.raises(ValueError, match="3 pairs"):
        judged([1.0, 1.0, 1.0], 0.02)


def test_coins_seldom_fail() -> None:
    """Pairs of the same commit that differ by three in a hundred: noise, and nothing else."""
    numbers = random.Random(5)
    verdicts = [judged([numbers.gauss(1.0, 0.03) for _ in range(15)], 0.02).verdict for _ in range(2000)]
    assert verdicts.count(Verdict.SLOWER) <= 20


def test_ratios_are_of_the_second_to_the_first() -> None:
    parts = [
        Measured(name="pp512", ours=[90.0, 90.0], peer=[100.0, 100.0], bounds=[]),
        Measured(name="pp512", ours=[45.0, 180.0], peer=[50.0, 200.0], bounds=[]),
    ]
    result = gate.judge("m", gate.joined(parts), 0.02)
    assert result.judged.verdict == Verdict.SLOWER
    assert result.cells() == ["m", "pp512", "100.0", "90.0", "**0.900**", "0.900 to 0.900", "slower"]
    assert len({line.count("|") for line in gate.table([result, result]).splitlines()}) == 1
    assert result.as_json()["verdict"] == "slower"


def test_who_is_started_first_changes_and_b_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    class Started:
        def __init__(self, name: str) -> None:
            self.name = name

        def __enter__(self) -> "Started":
            return self

        def __exit__(self, *_: object) -> None:
            ended.append(self.name)

    began: list[str] = []
    ended: list[str] = []
    seen: list[tuple[str, ...]] = []

    def start(build: Build, *_: object) -> Started:
        began.append(build.name)
        return Started(build.name)

    def rates(engines: tuple[Started, Started], task: Task, repeat: int) -> Measured:
        seen.append(tuple(engine.name for engine in engines))
        return Measured(name=task.name, ours=[1.0] * repeat, peer=[1.0] * repeat, bounds=[])

    monkeypatch.setattr(gate, "started", start)
    monkeypatch.setattr(gate, "rates", rates)
    monkeypatch.setattr(files, "path_of", Path)
    options = Namespace(
        models=["m"], rounds=2, repeat=5, streams=True, prompt=8, generate=4, tolerance=0.02, threads=1
    )
    results = gate.compared((Build("a", Path()), Build("b", Path())), options)
    assert [result.measured.name for result in results] == ["pp8", "tg4", "16 x 128+4"]
    assert [len(result.measured.ours) for result in results] == [10] * 3
    assert began == ["a", "b", "b", "a"]
    assert sorted(ended) == ["a", "a", "b", "b"]
    assert set(seen) == {("b", "a")}


def committed(folder: Path, text: str) -> str:
    """A commit of a small repository with a package in it."""
    package = folder / gate_builds.PACKAGE
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").write_text(text)
    (folder / ".gitignore").write_text("*.so\n.bench\n")
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "--quiet"], ["add", "."], [*who, "commit", "--quiet", "-m", text]):
        subprocess.run(["git", "-C", str(folder), *command], check=True)
    return gate_builds.git("rev-parse", "HEAD", tree=folder)


def test_a_commit_is_checked_out_and_built_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = committed(tmp_path, "one = 1\n"), committed(tmp_path, "two = 2\n")
    built: list[Path] = []

    def build(tree: Path) -> None:
        built.append(tree)
        (tree / gate_builds.PACKAGE / "_native.abi3.so").touch()

    monkeypatch.setattr(gate_builds, "ROOT", tmp_path)
    monkeypatch.setattr(gate_builds, "GATE", tmp_path / ".bench" / "gate")
    monkeypatch.setattr(gate_builds, "build", build)
    one, again, other = (gate_builds.of_commit(name) for name in ("HEAD~1", first, "HEAD"))
    assert one.tree == again.tree
    assert built == [one.tree, other.tree]
    assert one.name == f"HEAD~1 ({first[:8]})"
    assert (one.package / "__init__.py").read_text() == "one = 1\n"
    assert (other.package / "__init__.py").read_text() == "two = 2\n"
    assert second.startswith(other.tree.name)
    with pytest.raises(SystemExit, match="nothing-like-this"):
        gate_builds.of_commit("nothing-like-this")


def test_a_tree_without_an_extension_is_refused(tmp_path: Path) -> None:
    commit = committed(tmp_path, "one = 1\n")
    with pytest.raises(SystemExit, match="make build"):
        gate_builds.of_tree(tmp_path)
    (tmp_path / gate_builds.PACKAGE / "_native.pyi").touch()
    with pytest.raises(SystemExit, match="make build"):
        gate_builds.of_tree(tmp_path)
    (tmp_path / gate_builds.PACKAGE / "_native.abi3.so").touch()
    assert gate_builds.of_tree(tmp_path).name == f"{tmp_path.name} ({commit[:8]})"
    (tmp_path / gate_builds.PACKAGE / "__init__.py").write_text("changed = 1\n")
    assert gate_builds.of_tree(tmp_path).name == f"{tmp_path.name} ({commit[:8]}+)"


def test_the_extension_comes_out_of_the_wheel(tmp_path: Path) -> None:
    wheel, package = tmp_path / "a.whl", tmp_path / "ruvllm"
    package.mkdir()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("ruvllm/__init__.py", "")
        archive.writestr("ruvllm/_native.pyi", "")
        archive.writestr("ruvllm/_native.abi3.so", b"compiled")
    gate_builds.take_extension(wheel, package)
    assert [path.name for path in package.iterdir()] == ["_native.abi3.so"]
    assert (package / "_native.abi3.so").read_bytes() == b"compiled"
