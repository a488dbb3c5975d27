"""Is a commit slower than another one? Both are measured side by side, on one machine, in pairs.

    make bench-gate BENCH_ARGS='main~3'                   that commit, and the working tree as it is built
    python -m benches.gate main~3 main
    python -m benches.gate --built TREE_A TREE_B          two trees whose extensions are there
    python -m benches.gate main~3 --models smollm2-Q4_0 --streams --tolerance 0.03

Prompts, and tokens one by one; with `--streams` sixteen requests together, too. Each side is a process that
waits while the other one measures, and who begins changes from pair to pair. The processes are started anew
`--rounds` times, since where a process happens to lie in memory is a difference of its own. Prints the ratio
B/A: the middle one of all pairs, and the quartiles. It ends with 1 where the middle says that B is slower by
more than `--tolerance`, and three quarters of the pairs that it is slower (benches/gate_verdict.py says why).
"""

import argparse
import json
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benches import files, gate_builds
from benches.gate_builds import Build
from benches.gate_verdict import LEAST_PAIRS, Judged, Verdict, judged
from benches.peers.engine import Engine
from benches.peers.environment import warn_of_company
from benches.peers.report import Measured
from benches.peers.tasks import Task, rates
from ruvllm._native import System

# Those that are fetched; other formats must be made first (`make bench-peers`).
MODELS = ("smollm2-Q4_1", "gemma-3-270m-Q4_K_M")
STREAM_PROMPT = 128


@dataclass(frozen=True, slots=True)
class Result:
    """One test of one model; `measured.ours` is B's, `peer` A's."""

    model: str
    measured: Measured
    judged: Judged

    def cells(self) -> list[str]:
        """In the order of the table."""
        first, second = median(self.measured.peer), median(self.measured.ours)
        judged = self.judged
        return [
            *(self.model, self.measured.name, f"{first:.1f}", f"{second:.1f}", f"**{judged.middle:.3f}**"),
            *(f"{judged.low:.3f} to {judged.high:.3f}", judged.verdict.value),
        ]

    def as_json(self) -> dict[str, Any]:
        """Everything."""
        judged = self.judged
        return {
            "model": self.model,
            "test": self.measured.name,
            "a_tokens_per_second": self.measured.peer,
            "b_tokens_per_second": self.measured.ours,
            "ratio_quartiles": [judged.low, judged.middle, judged.high],
            "verdict": judged.verdict.value,
        }


def started(build: Build, path: Path, options: argparse.Namespace) -> Engine:
    """A process that runs this build; refuses one that would measure something else."""
    isa = ["--isa", options.isa] if options.isa else []
    engine = Engine(
        sys.executable,
        "measure_ruvllm.py",
        *(str(path), str(options.threads), *isa),
        packages=build.packages,
    )
    if Path(engine.ready["package"]).resolve() != build.package.resolve():
        raise SystemExit(f"{build.name} imported {engine.ready['package']} in place of {build.package}")
    if not engine.ready["is_release"]:
        raise SystemExit(f"{build.name} is the build for tests, slower than a release: `make build` first")
    return engine


def measured_round(
    builds: tuple[Build, Build], path: Path, tasks: list[Task], options: argparse.Namespace, turn: int
) -> list[Measured]:
    """Every task in pairs, in processes that are started for it."""
    with ExitStack() as stack:
        engines: dict[int, Engine] = {}
        # Who comes first finds more of the memory in one piece.
        for index in (0, 1) if turn % 2 == 0 else (1, 0):
            engines[index] = stack.enter_context(started(builds[index], path, options))
        return [rates((engines[1], engines[0]), task, options.repeat) for task in tasks]


def joined(parts: list[Measured]) -> Measured:
    """The pairs of all rounds as those of one."""
    return Measured(
        name=parts[0].name,
        ours=[rate for part in parts for rate in part.ours],
        peer=[rate for part in parts for rate in part.peer],
        bounds=[],
    )


def judge(model: str, measured: Measured, tolerance: float) -> Result:
    """What the pairs of a test say."""
    ratios = [second / first for second, first in zip(measured.ours, measured.peer, strict=True)]
    return Result(model, measured, judged(ratios, tolerance))


def tasks_of(options: argparse.Namespace) -> list[Task]:
    """The tests of each model."""
    streams = [Task("streams", STREAM_PROMPT, options.generate)] if options.streams else []
    return [Task("prefill", options.prompt), Task("decode", 1, options.generate), *streams]


def compared(builds: tuple[Build, Build], options: argparse.Namespace) -> list[Result]:
    """All tests of all models."""
    tasks, results = tasks_of(options), []
    for model in options.models:
        path = files.path_of(model)
        rounds = []
        for turn in range(options.rounds):
            print(f"{model}, round {turn + 1} of {options.rounds} ...", file=sys.stderr)
            rounds.append(measured_round(builds, path, tasks, options, turn))
        for parts in zip(*rounds, strict=True):
            results.append(judge(model, joined(list(parts)), options.tolerance))
    return results


def table(results: list[Result]) -> str:
    """In Markdown."""
    titles = ["model", "test", "A", "B", "B/A", "quartiles", "B is"]
    lines = [titles, ["---"] * 2 + ["---:"] * 4 + ["---"], *(result.cells() for result in results)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("commits", nargs="*", metavar="COMMIT", help="A, and B; B else the working tree")
    parser.add_argument("--built", nargs=2, type=Path, metavar="TREE", help="A and B, in place of commits")
    parser.add_argument("--models", nargs="+", default=list(MODELS), help="as in benches.peers.compare")
    parser.add_argument("--streams", action="store_true", help="sixteen requests together, too")
    parser.add_argument("--tolerance", type=float, default=0.02, help="what B may lose: 0.02 is 2 %%")
    parser.add_argument("--prompt", type=int, default=512, help="tokens of a prompt")
    parser.add_argument("--generate", type=int, default=64, help="tokens to make")
    parser.add_argument("--repeat", type=int, default=5, help="pairs of runs in a round")
    parser.add_argument("--rounds", type=int, default=3, help="how often the processes are started")
    parser.add_argument("--threads", type=int, help="of both; else what RuvLLM would take")
    parser.add_argument("--isa", help="of both; else the best")
    options = parser.parse_args()
    if (options.built is None) == (len(options.commits) not in (1, 2)):
        parser.error("one or two commits, or two trees with --built")
    if options.rounds * options.repeat < LEAST_PAIRS:
        parser.error(f"at least {LEAST_PAIRS} pairs: --rounds times --repeat")
    options.threads = options.threads or System.detect().threads
    return options


def builds_of(options: argparse.Namespace) -> tuple[Build, Build]:
    """A and B, both with their extensions."""
    if options.built:
        first, second = options.built
        return gate_builds.of_tree(first), gate_builds.of_tree(second)
    first, *others = options.commits
    second = gate_builds.of_commit(others[0]) if others else gate_builds.of_tree(files.ROOT)
    return gate_builds.of_commit(first), second


def main() -> int:
    """Build, measure, print, save; 1 where B is slower."""
    options = parse_arguments()
    first, second = builds_of(options)
    warn_of_company()
    results = compared((first, second), options)
    pairs = options.rounds * options.repeat
    print(f"A is {first.name}, B is {second.name}; tokens a second with {options.threads} threads,")
    print(f"medians of {pairs} pairs in {options.rounds} rounds.\n\n{table(results)}\n")
    saved = {"a": first.name, "b": second.name, "tolerance": options.tolerance, "threads": options.threads}
    tests = [result.as_json() for result in results]
    gate_builds.GATE.mkdir(parents=True, exist_ok=True)
    text = json.dumps({**saved, "tests": tests}, indent=1)
    (gate_builds.GATE / "last.json").write_text(f"{text}\n", encoding="utf-8")
    verdicts = {result.judged.verdict for result in results}
    if Verdict.UNCLEAR in verdicts:
        print("unclear: the pairs do not agree; measure again with more --rounds, and nothing beside")
    return 1 if Verdict.SLOWER in verdicts else 0


if __name__ == "__main__":
    raise SystemExit(main())
