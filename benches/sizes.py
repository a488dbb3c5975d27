"""RuvLLM beside llama.cpp on models in the shapes that people run, with random weights: 1b, 3b, 8b.

    make bench-sizes                                      1b in five formats, all threads
    python -m benches.sizes --shapes 1b 3b 8b --formats Q4_K --depths 16 2048 8192 --threads 1 2
    python -m benches.sizes --depths 8192 --kv-format int8

Files are written once into .bench/models; what the machine has no room for is left out, and a line says so.
The engines are measured in turn, as in benches/peers/compare.py: prompts (`pp512`), and tokens one by one
after a context whose computation does not count (`tg64@2048`). Prints and saves (JSON and Markdown, in
.bench/, by threads) tokens a second, the ratio, and the share of what this machine allows: of the instruction
for prompts, else of the memory, from which a token reads all weights, and keys and values of its context.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from benches import files, size_files
from benches.peers.compare import best_of
from benches.peers.engine import Engine, EngineEnded
from benches.peers.environment import BUILDS, make_environment, warn_of_company
from benches.peers.report import Machine, Report
from benches.peers.tasks import Bound, Limits, Task, rates
from benches.peers.work import Work
from benches.shapes import FORMATS, SHAPES, ModelShape
from benches.size_rows import SizeRow
from ruvllm.observability.machine_memory import available_memory
from ruvllm.observability.peaks import MachinePeaks, measure_peaks

# That of the models whose shapes these are.
VOCABULARY = 128_256
# Bytes of a number in RuvLLM's key-value cache, and of the scale of a head's key, or value.
NUMBER_AND_SCALE_BYTES = {
    "int16": (2.0, 4.0), "int8": (1.0, 4.0), "k8v4": (0.75, 4.0), "q4": (0.5, 4.0), "q3": (0.375, 1.0),
}  # fmt: skip
CONTEXT_STEP = 256
REMARKS = (
    "Weights are random. pp512 is a prompt of 512 tokens, tg64@2048 are 64 tokens after 2048;",
    "the bound is the instruction for prompts, else the memory: weights, and keys and values of the context.",
)


@dataclass(frozen=True, slots=True)
class Case:
    """A file to measure, and what follows from how it is asked for."""

    name: str
    format_name: str
    shape: ModelShape
    context: int

    @property
    def model(self) -> str:
        """What a table calls it."""
        return f"{self.name} {self.format_name}"

    def path(self) -> Path:
        """The file, written where it must be; `NoRoom` where disk or memory do not suffice."""
        weights = FORMATS[self.format_name]
        size_files.require_memory(self.shape, weights, self.context, available_memory())
        return size_files.file_of(self.name, self.format_name, self.shape)


@dataclass(frozen=True, slots=True)
class Run:
    """What was measured of one case with so many threads, and what the engines call themselves."""

    threads: int
    rows: list[SizeRow]
    peaks: MachinePeaks  # the best that was seen
    ours: str
    peer: str


def tasks(options: argparse.Namespace) -> list[Task]:
    """Prompts, then depths."""
    return [
        *(Task("prefill", prompt) for prompt in options.prompts),
        *(Task("deep", depth, options.generate) for depth in options.depths),
    ]


def context_of(wanted: list[Task]) -> int:
    """Tokens that both engines must have room for."""
    most = max(task.prompt_tokens + task.generate + 1 for task in wanted)
    return -(-most // CONTEXT_STEP) * CONTEXT_STEP


def measure(case: Case, python: Path, threads: int, options: argparse.Namespace) -> Run:
    """Every test of one file, the engines in turn."""
    path = case.path()
    arguments = [str(path), str(threads), "--context", str(case.context)]
    ours_only = ["--kv-format", options.kv_format, *(["--isa", options.isa] if options.isa else [])]
    with (
        Engine(sys.executable, "measure_ruvllm.py", *arguments, *ours_only) as ours,
        Engine(python, "measure_llama_cpp.py", *arguments) as peer,
    ):
        limits, work = Limits(threads), Work.of(path)
        isa, operands = ours.ready["isa"], ours.ready["operands"]
        rows = [
            SizeRow(
                model=case.model,
                file_bytes=path.stat().st_size,
                isa=isa,
                operands=operands,
                kv_format=options.kv_format,
                test=rates(
                    (ours, peer),
                    task,
                    options.repeat,
                    limits,
                    bound_of(task, work, case.shape, options.kv_format, (isa, operands)),
                ),
            )
            for task in tasks(options)
        ]
        return Run(threads, rows, best_of(limits.seen), ours.ready["engine"], peer.ready["engine"])


def cached_bytes(shape: ModelShape, kv_format: str, tokens: float) -> float:
    """What a step reads of RuvLLM's keys and values of so many tokens."""
    of_number, of_scale = NUMBER_AND_SCALE_BYTES[kv_format]
    number = of_number + of_scale / shape.head_dim
    return shape.cached_numbers * number * tokens


def bound_of(task: Task, work: Work, shape: ModelShape, kv_format: str, products: tuple[str, str]) -> Bound:
    """Tokens a second that a machine of such peaks allows at most."""
    if task.kind == "prefill":
        return lambda peaks: work.prefill_bound(peaks.best(*products), task.prompt_tokens)
    read = cached_bytes(shape, kv_format, task.prompt_tokens + task.generate / 2)
    return lambda peaks: work.decode_bound(peaks.memory_bytes_per_second, read)


def measured(cases: list[Case], python: Path, options: argparse.Namespace) -> Iterator[tuple[Case, Run]]:
    """Case by case, with all counts of threads; those without room are left out."""
    for case in cases:
        for threads in options.threads:
            print(f"{case.model}, {threads} threads ...", file=sys.stderr)
            try:
                yield case, measure(case, python, threads, options)
            except (size_files.NoRoom, EngineEnded) as reason:
                print(f"{case.model} with {threads} threads is left out: {reason}", file=sys.stderr)


def reports(options: argparse.Namespace) -> list[Report]:
    """Measure everything that the options ask for; a report a count of threads."""
    warn_of_company()
    python = options.peer_python or make_environment(options.build, upgrade=options.upgrade_peer)
    wanted = tasks(options)
    cases = [
        Case(name, one, replace(SHAPES[name], vocabulary=options.vocabulary), context_of(wanted))
        for name in options.shapes
        for one in options.formats
    ]
    runs = list(measured(cases, python, options))
    made = []
    for threads in options.threads:
        own = [(case, run) for case, run in runs if run.threads == threads]
        if not own:
            continue
        rows = [row for _, run in own for row in run.rows]
        stored = (f"RuvLLM stores keys and values as {options.kv_format}, llama.cpp as f16.",)
        made.append(
            Report(
                ours=own[0][1].ours,
                peer=own[0][1].peer,
                build=options.build,
                threads=threads,
                repeat=options.repeat,
                machine=Machine.here(best_of([run.peaks for _, run in own])),
                rows=rows,
                remarks=REMARKS + (stored if options.kv_format != "int16" else ()),
            )
        )
    return made


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=["1b"])
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS))
    parser.add_argument("--prompts", nargs="*", type=int, default=[128, 512], help="tokens of prompts")
    parser.add_argument("--depths", nargs="*", type=int, default=[16], help="tokens before those one by one")
    parser.add_argument("--generate", type=int, default=64, help="tokens to make one by one")
    parser.add_argument("--threads", nargs="+", type=int, help="of both engines; else what RuvLLM would take")
    parser.add_argument("--repeat", type=int, default=5, help="pairs of runs")
    parser.add_argument("--vocabulary", type=int, default=VOCABULARY, help="tokens of the models")
    parser.add_argument(
        "--kv-format", choices=list(NUMBER_AND_SCALE_BYTES), default="int16", help="of RuvLLM's cache"
    )
    parser.add_argument("--isa", help="of RuvLLM; else the best")
    parser.add_argument("--build", choices=BUILDS, default="native", help="of llama.cpp")
    parser.add_argument("--peer-python", type=Path, help="an interpreter that has llama_cpp already")
    parser.add_argument("--upgrade-peer", action="store_true", help="look for a newer llama-cpp-python")
    parser.add_argument("--output", type=Path, default=files.BENCH, help="the folder to save in")
    options = parser.parse_args()
    options.threads = options.threads or [measure_peaks().threads]
    if not tasks(options):
        parser.error("there is nothing to measure without --prompts and --depths")
    return options


def main() -> int:
    """Measure, print, save; 1 where there was no room for anything."""
    options = parse_arguments()
    made = reports(options)
    for report in made:
        print(report.markdown())
        report.save(options.output, "sizes")
    return 0 if made else 1


if __name__ == "__main__":
    raise SystemExit(main())
