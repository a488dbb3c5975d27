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
from pathlib import Path

from benches import files
from benches.peers.engine import Engine
from benches.peers.environment import BUILDS, make_environment, warn_of_company
from benches.peers.report import Machine, Report, Row
from benches.peers.tasks import Limits, Task, rates
from benches.peers.work import Work
from ruvllm.observability.peaks import InstructionPeak, MachinePeaks, measure_peaks


def compare(model: str, python: Path, limits: Limits, options: argparse.Namespace) -> tuple[Row, str, str]:
    """Every test of one model, the engines in turn; and what the engines call themselves."""
    path = files.path_of(model)
    work = Work.of(path)
    arguments = [str(path), str(options.threads)]
    our_arguments = [*arguments, "--isa", options.isa] if options.isa else arguments
    with (
        Engine(sys.executable, "measure_ruvllm.py", *our_arguments) as ours,
        Engine(python, "measure_llama_cpp.py", *arguments) as peer,
    ):
        engines = (ours, peer)
        isa, operands = ours.ready["isa"], ours.ready["operands"]
        row = Row(
            model=model if model in files.NAMES else path.name,
            isa=isa,
            operands=operands,
            prefill=rates(
                engines,
                Task("prefill", options.prompt),
                options.repeat,
                limits,
                lambda peaks: work.prefill_bound(peaks.best(isa, operands), options.prompt),
            ),
            decode=rates(
                engines,
                Task("decode", 1, options.generate),
                options.repeat,
                limits,
                lambda peaks: work.decode_bound(peaks.memory_bytes_per_second),
            ),
        )
        return row, ours.ready["engine"], peer.ready["engine"]


def best_of(measured: list[MachinePeaks]) -> MachinePeaks:
    """The highest of each figure."""
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
    limits = Limits(measure_peaks(options.threads).threads)
    options.threads = limits.threads
    rows, ours, peer = [], "", ""
    for model in options.models:
        print(f"{model} ...", file=sys.stderr)
        row, ours, peer = compare(model, python, limits, options)
        rows.append(row)
    return Report(
        ours=ours,
        peer=peer,
        build=options.build,
        threads=options.threads,
        repeat=options.repeat,
        machine=Machine.here(best_of(limits.seen)),
        rows=rows,
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
