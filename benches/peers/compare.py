"""RuvLLM beside llama.cpp: the same file, the same threads, in turn, in one run.

    make bench-peers                                      the six usual files, all threads
    python -m benches.peers.compare smollm2-Q4_0 --threads 1
    python -m benches.peers.compare --isa avx2 --build avx2

Prints and saves (JSON and Markdown, in .bench/) tokens a second, the ratio, and what share of this machine's
measured memory bandwidth and instruction throughput that is. Each engine runs in a process of its own and
waits while the other measures; llama.cpp (`llama-cpp-python`, the latest) is compiled once, in .bench/, and
makes those formats of SmolLM2 that cannot be fetched.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from benches import files
from benches.peers.engine import Engine
from benches.peers.environment import BUILDS, make_environment, warn_of_company
from benches.peers.report import Machine, Report, Row
from benches.peers.tasks import Task, rates
from benches.peers.work import Work
from ruvllm.observability.peaks import InstructionPeak, MachinePeaks, measure_peaks


def compare(model: str, python: Path, options: argparse.Namespace) -> tuple[Row, str, str]:
    """Every test of one model, the engines in turn; and what the engines call themselves."""
    path = files.path_of(model)
    arguments = [str(path), str(options.threads)]
    our_arguments = [*arguments, "--isa", options.isa] if options.isa else arguments
    with (
        Engine(sys.executable, "measure_ruvllm.py", *our_arguments) as ours,
        Engine(python, "measure_llama_cpp.py", *arguments) as peer,
    ):
        engines = (ours, peer)
        row = Row(
            model=model if model in files.NAMES else path.name,
            isa=ours.ready["isa"],
            operands=ours.ready["operands"],
            prefill=rates(engines, Task("prefill", options.prompt), options.repeat),
            decode=rates(engines, Task("decode", 1, options.generate), options.repeat),
        )
        return row, ours.ready["engine"], peer.ready["engine"]


def bounded(row: Row, work: Work, peaks: MachinePeaks, prompt_tokens: int) -> Row:
    """The row with what this machine allows at most."""
    instruction = peaks.best(row.isa, row.operands)
    return replace(
        row,
        prefill=replace(row.prefill, bound=work.prefill_bound(instruction, prompt_tokens)),
        decode=replace(row.decode, bound=work.decode_bound(peaks.memory_bytes_per_second)),
    )


def best_of(measured: list[MachinePeaks]) -> MachinePeaks:
    """The highest of each figure: a bound is what the machine can do in its best moment."""
    return MachinePeaks(
        threads=measured[0].threads,
        memory_bytes_per_second=max(peaks.memory_bytes_per_second for peaks in measured),
        instructions=tuple(
            max(same, key=_operations_per_second)
            for same in zip(*(peaks.instructions for peaks in measured), strict=True)
        ),
    )


def _operations_per_second(peak: InstructionPeak) -> float:
    return peak.operations_per_second


def run(options: argparse.Namespace) -> Report:
    """Measure everything that the options ask for."""
    warn_of_company()
    python = options.peer_python or make_environment(options.build, upgrade=options.upgrade_peer)
    if set(options.models) & set(files.MADE):
        files.make(python)
    peaks = [measure_peaks(options.threads)]
    options.threads = peaks[0].threads
    rows, ours, peer = [], "", ""
    for model in options.models:
        print(f"{model} ...", file=sys.stderr)
        row, ours, peer = compare(model, python, options)
        rows.append(row)
        peaks.append(measure_peaks(options.threads))
    best = best_of(peaks)
    paths = [files.path_of(model) for model in options.models]
    return Report(
        ours=ours,
        peer=peer,
        build=options.build,
        threads=options.threads,
        repeat=options.repeat,
        machine=Machine.here(best),
        rows=[
            bounded(row, Work.of(path), best, options.prompt) for row, path in zip(rows, paths, strict=True)
        ],
    )


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    known = ", ".join(files.NAMES)
    parser.add_argument(
        "models", nargs="*", help=f"{known} (which are the default), or what `ruvllm pull` takes"
    )
    parser.add_argument("--threads", type=int, help="of both engines; else what RuvLLM would take")
    parser.add_argument("--isa", help="of RuvLLM; else the best")
    parser.add_argument("--build", choices=BUILDS, default="native", help="of llama.cpp")
    parser.add_argument("--prompt", type=int, default=512, help="tokens of a prompt")
    parser.add_argument("--generate", type=int, default=64, help="tokens to make")
    parser.add_argument("--repeat", type=int, default=5, help="pairs of runs")
    parser.add_argument("--peer-python", type=Path, help="an interpreter that has llama_cpp already")
    parser.add_argument("--upgrade-peer", action="store_true", help="look for a newer llama-cpp-python")
    parser.add_argument("--output", type=Path, default=files.BENCH, help="the folder to save in")
    options = parser.parse_args()
    options.models = options.models or list(files.NAMES)
    return options


def main() -> None:
    """Measure, print, save."""
    options = parse_arguments()
    report = run(options)
    print(report.markdown())
    report.save(options.output, "peers")


if __name__ == "__main__":
    main()
