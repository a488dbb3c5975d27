"""Our server beside llama-cpp-python's: the same file, the same load, in turn, in one run.

    python -m benches.serve [MODEL] [--clients N] [--requests N] [--threads N] [--peer-python PYTHON]

Two loads of chat requests, greedy, each with an answer of the same length: prompts that have nothing in
common, and short ones behind one long system prompt. The load is `ruvllm bench-serve`'s. Both servers run the
whole time, and wait while the other is measured. The peer gets its better settings: no logits of prompts, no
interruption of one request by the next. It answers one request after the other; llama.cpp's own server, which
is not on PyPI, would not. `--no-peer` leaves it out.
"""

import argparse
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benches import files
from benches.peers.environment import add_server, make_environment, warn_of_company
from ruvllm.client import ServerClient
from ruvllm.client.load import ClosedLoop, Report, Target, WordSupply, Workload, run_load
from ruvllm.errors import RuvLLMError
from ruvllm.observability.peaks import measure_peaks

ANSWER = 64
CONTEXT = 4096
LOADS = {
    "nothing shared": {"prompt_tokens": 128, "shared_prefix_tokens": 0},
    "shared system prompt": {"prompt_tokens": 32, "shared_prefix_tokens": 512},
}
MARK = 2.0
START_SECONDS = 120
# An engine's threads look for work a while before they sleep; the other one must not feel that.
SETTLE_SECONDS = 0.5


@dataclass(frozen=True)
class Server:
    """A running server, and what its requests say so that an answer has its length."""

    name: str
    client: ServerClient
    model: str
    fields: Mapping[str, Any]

    def measure(self, workload: Mapping[str, Any], words: WordSupply, clients: int) -> Report:
        """One load; an answer that is not as long as asked for would make the figures worthless."""
        asked = Workload(max_tokens=ANSWER, extra_body=self.fields, **workload)
        target = Target(address=self.client.address)
        report = Report.of(run_load(target, asked.plan(self.model, words), ClosedLoop(clients)))
        if report.answered != asked.requests or report.short:
            raise SystemExit(f"{self.name}: {report.counts}, {report.failures}, {report.short} too short")
        return report


@contextmanager
def started(name: str, command: list[str], port: int, fields: Mapping[str, Any]) -> Iterator[Server]:
    """A server that answers."""
    with tempfile.TemporaryFile() as log, ServerClient(f"http://127.0.0.1:{port}") as client:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            deadline = time.monotonic() + START_SECONDS
            while (model := _model_of(client)) is None:
                if process.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    tail = log.read()[-2000:].decode(errors="replace")
                    raise SystemExit(f"{' '.join(command)} did not start:\n{tail}")
                time.sleep(0.2)
            yield Server(name, client, model, fields)
        finally:
            process.terminate()
            process.wait(30)


def _model_of(client: ServerClient) -> str | None:
    try:
        model = client.first_model()
        with client.stream_chat(model, [{"role": "user", "content": "Hello!"}], {"max_tokens": 1}) as answer:
            list(answer)
    except RuvLLMError:
        return None
    return model


def free_port() -> int:
    """A port that nobody listens at now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ours(path: Path, threads: int, port: int) -> list[str]:
    """Our command."""
    flags = ["--port", str(port), "--threads", str(threads), "--max-context", str(CONTEXT), "--quiet"]
    return [sys.executable, "-m", "ruvllm", "serve", f"model={path}", *flags]


def theirs(python: Path, path: Path, threads: int, port: int) -> list[str]:
    """The peer's command."""
    settings = {
        "model": path,
        "port": port,
        "n_threads": threads,
        "n_threads_batch": threads,
        "n_ctx": CONTEXT,
        "logits_all": False,
        "interrupt_requests": False,
        "verbose": False,
    }
    flags = [text for name, value in settings.items() for text in (f"--{name}", str(value))]
    return [str(python), "-m", "llama_cpp.server", *flags]


def show(name: str, reports: list[Report]) -> None:
    """One line: medians of the runs."""

    def middle(what: str, field: str) -> float:
        return median(getattr(report.latencies[what], field) for report in reports)

    rate = median(report.requests_per_second for report in reports)
    print(
        f"  {name:24} {rate:7.2f} requests/s {rate * ANSWER:7.0f} output t/s"
        f"   TTFT p50 {middle('ttft', 'p50'):7.0f} ms, p95 {middle('ttft', 'p95'):7.0f} ms"
        f"   ITL p50 {middle('itl', 'p50'):5.1f} ms"
    )


def measure(servers: list[Server], words: WordSupply, options: argparse.Namespace) -> None:
    """Each load on each server, in turn, run by run; every run has other prompts."""
    for title, shape in LOADS.items():
        runs: list[list[Report]] = []
        for number in range(options.repeat + 1):
            # The first round warms up, with fewer requests.
            requests = options.requests if number else options.clients
            load = {**shape, "requests": requests, "seed": number}
            reports = []
            for server in servers:
                time.sleep(SETTLE_SECONDS)
                reports.append(server.measure(load, words, options.clients))
            runs.append(reports)
        print(
            f"{title}: {shape['shared_prefix_tokens']} + {shape['prompt_tokens']} + {ANSWER} tokens, "
            f"{options.clients} clients, {options.requests} requests, medians of {options.repeat}"
        )
        for index, server in enumerate(servers):
            show(server.name, [reports[index] for reports in runs[1:]])
        if len(servers) > 1:
            ratios = [first.requests_per_second / other.requests_per_second for first, other in runs[1:]]
            verdict = "reached" if median(ratios) >= MARK else "MISSED"
            print(f"  {median(ratios):.2f} times the requests   >= {MARK:.0f} times   {verdict}")


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", default="smollm2-Q4_0", help="as in benches.peers.compare")
    parser.add_argument("--threads", type=int, help="of both servers; else what RuvLLM would take")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--requests", type=int, default=64)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--peer-python", type=Path, help="an interpreter that has llama_cpp")
    return parser.parse_args()


def main() -> None:
    """Start both, measure, print."""
    options = parse_arguments()
    warn_of_company()
    python = None
    if not options.no_peer:
        python = options.peer_python or make_environment("native", upgrade=False)
        add_server(python)
        files.make(python)
    path = files.path_of(options.model)
    threads = measure_peaks(options.threads).threads
    print(f"{path.name}, {threads} threads")
    with ExitStack() as stack:
        port = free_port()
        fields: dict[str, object] = {"ignore_eos": True, "speculate": False}
        own = stack.enter_context(started("RuvLLM", ours(path, threads, port), port, fields))
        servers = [own]
        if python is not None:
            port = free_port()
            fields = {"min_tokens": ANSWER, "repeat_penalty": 1.0}
            command = theirs(python, path, threads, port)
            servers.append(stack.enter_context(started("llama-cpp-python", command, port, fields)))
        measure(servers, WordSupply.measured(own.client.count_tokens), options)


if __name__ == "__main__":
    main()
