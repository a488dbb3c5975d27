"""How models in larger shapes are compared: what is measured, what bounds it, what the table says."""

import sys
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import pytest

from benches import size_files, sizes
from benches.peers import measure_ruvllm, tasks
from benches.peers.engine import Engine, EngineEnded
from benches.peers.report import Machine, Measured, Report
from benches.peers.tasks import Task
from benches.peers.work import Work
from benches.shapes import SHAPES, UNIFORM, ModelShape, write_shape
from benches.size_rows import SizeRow
from ruvllm.observability.peaks import InstructionPeak, MachinePeaks

TINY = ModelShape(layers=2, hidden=256, feed_forward=512, heads=4, kv_heads=2, vocabulary=320)
PEAKS = MachinePeaks(
    threads=2,
    memory_bytes_per_second=1e9,
    instructions=(
        InstructionPeak(isas=("avx2",), instruction="i", operands="int8", operations_per_second=1e9),
    ),
)


def row(test: Measured) -> SizeRow:
    return SizeRow(
        model="1b Q4_0", file_bytes=800_000_000, isa="avx2", operands="int8", kv_format="int16", test=test
    )


def test_tasks_have_names_and_room() -> None:
    wanted = sizes.tasks(Namespace(prompts=[128, 512], depths=[16, 2048], generate=64))
    assert [task.name for task in wanted] == ["pp128", "pp512", "tg64@16", "tg64@2048"]
    assert [task.num_tokens for task in wanted] == [128, 512, 64, 64]
    assert sizes.context_of(wanted) == 2304
    assert Task("streams", 128, 64).num_tokens == 16 * 64
    assert len(Task("streams", 128, 64).token_ids(32_000)) == 16 * 128
    assert measure_ruvllm.STREAMS == tasks.STREAMS


def test_a_step_reads_weights_and_the_context() -> None:
    shape = SHAPES["8b"]
    assert sizes.cached_bytes(shape, "int16", 1) == 133_120
    assert sizes.cached_bytes(shape, "int8", 1) == 65_536 + 2 * 32 * 8 * 4
    work = Work(bytes_per_token=10**9 - 133_120 * 48, layer_weights=500, head_weights=0)
    products = ("avx2", "int8")
    most = sizes.bound_of(Task("deep", 16, 64), work, shape, "int16", products)(PEAKS)
    assert most == 1.0
    test = Measured(name="tg64@16", ours=[0.5], peer=[0.25], bounds=[most])
    assert row(test).cells() == ["1b Q4_0", "0.8", "tg64@16", "0.5", "0.2", "**2.00**", "50% (25%)"]
    assert sizes.bound_of(Task("prefill", 128), work, shape, "int16", products)(PEAKS) == 1e6


def test_the_table_has_a_line_a_test() -> None:
    test = Measured(name="pp128", ours=[300.0], peer=[60.0], bounds=[])
    rows = [row(test), row(replace(test, name="tg64@16"))]
    machine = Machine(processor="P", processors=2, memory_bytes=2**34, peaks=PEAKS)
    report = Report(
        ours="A", peer="B", build="native", threads=2, repeat=3, machine=machine, rows=rows, remarks=("Why.",)
    )
    assert len(report.table().splitlines()) == 4
    assert len({line.count("|") for line in report.table().splitlines()}) == 1
    assert "llama.cpp's in brackets.\nWhy.\n" in report.markdown()
    assert [one["tests"][0]["name"] for one in report.as_json()["rows"]] == ["pp128", "tg64@16"]


def test_what_there_is_no_room_for_is_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(case: sizes.Case, python: Path, threads: int, options: Namespace) -> sizes.Run:
        if case.name == "8b":
            raise size_files.NoRoom("a file of 9 GB")
        if threads == 2:
            raise EngineEnded("killed")
        return sizes.Run(threads, [], PEAKS, "A", "B")

    monkeypatch.setattr(sizes, "measure", refuse)
    cases = [sizes.Case(name, "Q8_0", SHAPES[name], 256) for name in ("1b", "8b")]
    runs = list(sizes.measured(cases, Path("python"), Namespace(threads=[1, 2])))
    assert [(case.model, run.threads) for case, run in runs] == [("1b Q8_0", 1)]
    said = capsys.readouterr().err
    assert "1b Q8_0 with 2 threads is left out: killed" in said
    assert "8b Q8_0 with 1 threads is left out: a file of 9 GB" in said


def test_our_side_measures_every_kind(tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    write_shape(TINY, path, UNIFORM)
    arguments = [str(path), "1", "--context", "256", "--kv-format", "int8"]
    with Engine(sys.executable, "measure_ruvllm.py", *arguments) as engine:
        assert engine.ready["vocab_size"] == TINY.vocabulary
        wanted = [
            Task("prefill", 64),
            Task("decode", 1, 8),
            Task("deep", 64, 8),
            Task("deep", 64, 8),
            Task("streams", 4, 4),
        ]
        for task in wanted:
            seconds = engine.seconds(task.kind, task.token_ids(TINY.vocabulary), task.generate)
            # So few tokens of so small a model may come all at once.
            assert seconds > 0.0 or task.kind in ("decode", "deep")


def test_a_process_that_ends_is_told_from_others() -> None:
    with pytest.raises(EngineEnded, match="ended with status 1"):
        Engine(sys.executable, "measure_ruvllm.py", "nowhere.gguf", "1")


def test_one_that_is_killed_between_two_tests_is_told_too(tmp_path: Path) -> None:
    """As a system does it that is short of memory."""
    write_shape(TINY, tmp_path / "tiny.gguf", UNIFORM)
    with Engine(sys.executable, "measure_ruvllm.py", str(tmp_path / "tiny.gguf"), "1") as engine:
        engine._process.kill()
        engine._process.wait()
        with pytest.raises(EngineEnded, match="ended with status"):
            engine.seconds("prefill", [1, 2, 3], 0)
