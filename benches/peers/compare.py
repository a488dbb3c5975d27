"""RuvLLM beside llama.cpp: the same file, the same threads, in turn, in one run.

    python -m benches.peers.compare smollm2-135m --threads 2

Prints and saves tokens per second (median of the repeats) and the ratio. `pp512` is a prompt of 512 tokens,
`tg64` is 64 tokens one by one from an almost empty context, as in llama-bench. Each engine runs in a process
of its own and waits while the other measures; llama.cpp (`llama-cpp-python`) is compiled once, in .bench/.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benches.workloads import token_ids
from ruvllm import hub

HERE = Path(__file__).resolve().parent
BENCH = HERE.parents[1] / ".bench"
PEER_REQUIREMENT = "llama-cpp-python==0.3.36"


class Engine:
    """One engine in a process of its own: a line of JSON in, a line of JSON out."""

    def __init__(self, python: Path, program: str, path: Path, threads: int) -> None:
        command = [str(python), str(HERE / program), str(path), str(threads)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        ready = self._read()
        self.name: str = ready["engine"]
        self.vocab_size: int = ready["vocab_size"]

    def seconds(self, test: str, token_ids: list[int], generate: int) -> float:
        """Measures one run of `prefill` over the tokens, or `decode` of `generate` tokens after the first."""
        assert self._process.stdin
        request = {"test": test, "token_ids": token_ids, "generate": generate}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return float(self._read()["seconds"])

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"the engine's process ended with status {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One test of one model: the medians, and every repeat."""

    model: str
    test: str
    threads: int
    ours: float
    peer: float
    all_ours: list[float]
    all_peer: list[float]

    @property
    def ratio(self) -> float:
        """How many times the peer's speed ours is."""
        return self.ours / self.peer


def peer_python(given: Path | None) -> Path:
    """An interpreter that has llama_cpp: the given one, else .bench/venv, made where it is missing."""
    if given:
        return given
    python = BENCH / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    if not python.exists():
        print(f"compiling {PEER_REQUIREMENT} in {BENCH / 'venv'}: about ten minutes", file=sys.stderr)
        venv.create(BENCH / "venv", with_pip=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", PEER_REQUIREMENT], check=True)
    return python


def compare(model: str, python: Path, options: argparse.Namespace) -> list[Row]:
    """Runs every test of one model, the engines in turn."""
    path = hub.resolve(model)
    ours = Engine(Path(sys.executable), "measure_ruvllm.py", path, options.threads)
    peer = Engine(python, "measure_llama_cpp.py", path, options.threads)
    tests = [
        (f"pp{options.prompt}", "prefill", token_ids(options.prompt, ours.vocab_size), options.prompt),
        (f"tg{options.generate}", "decode", token_ids(1, ours.vocab_size), options.generate),
    ]
    rows = []
    for label, test, prompt, num_tokens in tests:
        rates: dict[str, list[float]] = {ours.name: [], peer.name: []}
        for repeat in range(options.repeat + 1):
            # Who goes first changes, so that a drifting clock favours neither; the first round warms up.
            for engine in (ours, peer) if repeat % 2 else (peer, ours):
                rate = num_tokens / engine.seconds(test, prompt, options.generate)
                if repeat:
                    rates[engine.name].append(round(rate, 1))
        rows.append(
            Row(
                model=path.name,
                test=label,
                threads=options.threads,
                ours=statistics.median(rates[ours.name]),
                peer=statistics.median(rates[peer.name]),
                all_ours=rates[ours.name],
                all_peer=rates[peer.name],
            )
        )
    ours.close()
    peer.close()
    return rows


def processor() -> str:
    """The name of this machine's processor, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def table(rows: list[Row]) -> str:
    """The rows in Markdown."""
    lines = ["| model | test | threads | RuvLLM t/s | llama.cpp t/s | ratio |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {row.model} | {row.test} | {row.threads} | {row.ours:.1f} | {row.peer:.1f} | {row.ratio:.2f} |"
        for row in rows
    ]
    return "\n".join(lines)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="*", default=["smollm2-135m"], help="anything `ruvllm pull` takes")
    parser.add_argument("--threads", type=int, default=cpus)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--generate", type=int, default=64)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--peer-python", type=Path, help="an interpreter that has llama_cpp already")
    parser.add_argument("--output", type=Path, default=BENCH / "peers.json", help="where to save them")
    return parser.parse_args()


def main() -> None:
    """Measures, prints, saves."""
    options = parse_arguments()
    python = peer_python(options.peer_python)
    rows = [row for model in options.models for row in compare(model, python, options)]
    print(f"{processor()}, {PEER_REQUIREMENT}, median of {options.repeat}\n\n{table(rows)}")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    results = [
        {"ratio": round(row.ratio, 3), **{name: getattr(row, name) for name in row.__slots__}} for row in rows
    ]
    report = {"processor": processor(), "peer": PEER_REQUIREMENT, "results": results}
    options.output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
