"""How the comparison with llama.cpp derives its figures, and what it does without the files."""

from pathlib import Path
from typing import ClassVar

import pytest

from benches import files, marks
from benches.peers import compare, readme, tasks
from benches.peers.report import Machine, Measured, Report, Row
from benches.peers.work import Work
from ruvllm.observability.peaks import InstructionPeak, MachinePeaks
from tests.conftest import FIXTURES


def peaks(memory: float, operations: float) -> MachinePeaks:
    peak = InstructionPeak(
        isas=("avx2",), instruction="vpdpbusd ymm", operands="int8", operations_per_second=operations
    )
    return MachinePeaks(threads=2, memory_bytes_per_second=memory, instructions=(peak,))


def row(model: str = "a") -> Row:
    prefill = Measured(name="pp512", ours=[90.0, 300.0, 200.0], peer=[30.0, 50.0, 40.0], bounds=[1000.0] * 3)
    decode = Measured(name="tg64", ours=[40.0, 40.0], peer=[20.0, 20.0], bounds=[80.0, 80.0])
    return Row(model=model, isa="avx2", operands="int8", prefill=prefill, decode=decode)


def test_a_ratio_is_the_median_of_the_pairs() -> None:
    # The pairs are 3, 6 and 5 times; the medians, which mix the pairs, would say 200 / 40.
    assert row().prefill.ratio == 5.0
    assert Measured(name="", ours=[1.0, 8.0, 9.0], peer=[1.0, 2.0, 9.0], bounds=[]).ratio == 1.0


def test_bounds_follow_from_the_work_and_the_peaks() -> None:
    work = Work(bytes_per_token=1_000_000, layer_weights=500, head_weights=5120)
    assert work.operations(512) == 2 * (500 * 512 + 5120)
    assert work.decode_bound(80e6) == 80.0
    assert work.prefill_bound(peaks(80e6, 1020e3).best("avx2", "int8"), 512) == pytest.approx(
        1000.0
    )  # 1020 operations a token
    assert row().cells() == ["a", "200", "40", "**5.00**", "20% (4%)", "40", "20", "**2.00**", "50% (25%)"]


def test_a_share_is_of_what_its_own_moment_allowed() -> None:
    # A neighbour took half of the memory from the second pair: 90 % each time, not 45 % of the best moment.
    measured = Measured(
        name="tg64", ours=[90.0, 45.0, 45.0], peer=[50.0, 25.0, 25.0], bounds=[100.0, 50.0, 50.0]
    )
    assert measured.share(measured.ours) == pytest.approx(0.9)
    assert measured.share(measured.peer) == pytest.approx(0.5)


def test_limits_are_measured_around_every_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    class Steady:
        ready: ClassVar = {"vocab_size": 320}

        def seconds(self, *_: object) -> float:
            return 0.5

    moments = iter([peaks(10.0, 1.0), peaks(20.0, 1.0), peaks(40.0, 1.0)])
    monkeypatch.setattr(tasks, "measure_peaks", lambda threads: next(moments))
    monkeypatch.setattr(tasks, "SETTLE_SECONDS", 0.0)
    limits = tasks.Limits(2)
    measured = tasks.rates(
        (Steady(), Steady()),  # type: ignore[arg-type]
        tasks.Task("decode", 1, 8),
        2,
        limits,
        lambda now: now.memory_bytes_per_second,
    )
    assert measured.ours == measured.peer == [16.0, 16.0]
    assert measured.bounds == [15.0, 30.0]
    assert len(limits.seen) == 3


def test_peaks_are_the_best_that_was_seen() -> None:
    best = compare.best_of([peaks(1.0, 5.0), peaks(3.0, 2.0)])
    assert best == peaks(3.0, 5.0)


def test_the_table_is_markdown() -> None:
    report = Report(
        ours="RuvLLM 1",
        peer="llama 2",
        build="native",
        threads=2,
        repeat=3,
        machine=Machine(processor="P", processors=2, memory_bytes=2**34, peaks=peaks(80e9, 1e12)),
        rows=[row("a"), row("b")],
    )
    lines = report.table().splitlines()
    assert len(lines) == 4
    assert len({line.count("|") for line in lines}) == 1
    text = report.markdown()
    assert "RuvLLM 1 with `avx2` beside llama 2 (native build), 2 threads" in text
    assert "P, 2 processors, 16 GiB; 2 threads got 80.0 GB/s from memory, 1000 GOP/s of int8" in text
    assert report.as_json()["rows"][1]["tests"][0]["ratio"] == 5.0


def test_the_work_of_a_file() -> None:
    path = FIXTURES / "gguf" / "llama-gqa.gguf"
    work = Work.of(path)
    assert 0 < work.bytes_per_token < path.stat().st_size
    assert work.layer_weights > work.head_weights / 100 > 0


def test_a_file_that_is_not_there_says_how_to_make_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUVLLM_REQUANTIZED_DIR", str(tmp_path))
    monkeypatch.setattr(files, "MODELS", files.BENCH / "nowhere")
    assert files.find("smollm2-Q8_0") is None
    with pytest.raises(SystemExit, match="make bench-peers"):
        files.path_of("smollm2-Q8_0")
    (tmp_path / "smollm2-Q8_0.gguf").touch()
    assert files.find("smollm2-Q8_0") == tmp_path / "smollm2-Q8_0.gguf"


def test_pairs_run_in_turn_and_the_first_one_warms_up() -> None:
    calls: list[str] = []

    def one() -> float:
        calls.append("one")
        return float(len(calls))

    def other() -> float:
        calls.append("other")
        return 2.0 * (len(calls) - 1)

    assert marks.in_turn(one, other, 2) == (4.0, 8.0, 2.0)
    assert calls == ["one", "other"] * 3


def test_the_readme_takes_the_table() -> None:
    page = (files.ROOT / "README.md").read_text(encoding="utf-8")
    new = readme.replaced(page, ["one\n\n| a |\n", "two\n"])
    assert "<!-- bench-peers -->\none\n\n| a |\n\ntwo\n<!-- /bench-peers -->\n" in new
    assert readme.replaced(new, ["x"]).count("bench-peers -->") == 2
    assert page.partition("<!-- bench-peers -->")[0] == new.partition("<!-- bench-peers -->")[0]
    with pytest.raises(SystemExit):
        readme.replaced("no marks", ["x"])
