"""What `ruvllm bench-serve` prints: the load, its throughput, and a table of the waiting times."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ruvllm.cli import terminal

if TYPE_CHECKING:
    from ruvllm.client.load import Report

__all__ = ["print_report"]

MAX_REASONS = 5
# Sent so much later than planned, requests are no longer the load that was asked for.
LATE_MS = 50.0


def print_report(setting: Mapping[str, Any], report: "Report") -> None:
    """Print all of it; what throws doubt on the figures stands below them, on stderr."""
    terminal.show_pairs([*_load(setting), *_throughput(report)])
    terminal.out().print()
    _print_latencies(report)
    for kind, reasons in (("failed", report.failures), ("refused", report.refusals)):
        for reason, count in list(reasons.items())[:MAX_REASONS]:
            terminal.err().print(f"{count} {kind}: {terminal.visible(reason)}", style="red", markup=False)
        if len(reasons) > MAX_REASONS:
            terminal.note(f"{len(reasons) - MAX_REASONS} more reasons: --json lists them")
    for doubt in _doubts(setting, report):
        terminal.note(doubt)


def _load(setting: Mapping[str, Any]) -> list[tuple[str, str]]:
    if setting["rate"] is None:
        load = f"{setting['concurrency']} clients, each asks when it has its answer"
    elif setting["rate"] == "inf":
        load = "all at once"
    else:
        load = f"{setting['rate']:g} requests/s at random times"
    unit = setting["prompts_sized_by"]
    prompt = f"{setting['prompt_tokens']} {unit}"
    if setting["shared_prefix_tokens"]:
        prompt = f"{setting['shared_prefix_tokens']} shared {unit} + {prompt}"
    return [
        ("server", f"{setting['url']}, {setting['model']}"),
        ("load", f"{setting['requests']} requests, {load}"),
        ("each", f"{prompt}, at most {setting['max_tokens']} tokens of answer"),
    ]


def _throughput(report: "Report") -> list[tuple[str, str]]:
    from ruvllm.client.load.exchange import OutcomeKind

    count = report.counts
    rows = [
        (
            "requests",
            f"{count[OutcomeKind.OK]} ok, {count[OutcomeKind.REFUSED]} refused (429), "
            f"{count[OutcomeKind.FAILED]} failed, {count[OutcomeKind.DISCONNECTED]} disconnected",
        ),
        ("wall time", f"{report.wall_seconds:.2f} s"),
        ("requests/s", f"{report.requests_per_second:.2f}"),
        ("output tokens/s", _rate(report.output_tokens_per_second)),
        ("total tokens/s", _rate(report.total_tokens_per_second)),
    ]
    if not report.uncounted and report.prompt_tokens:
        share = report.cached_prompt_tokens / report.prompt_tokens
        rows.append(("prompt tokens", f"{report.prompt_tokens}, {share:.0%} of them cached"))
    if report.goodput is not None:
        rows.append(("goodput", f"{report.goodput:.2f} requests/s, {report.good} of {report.answered}"))
    return rows


def _rate(value: float | None) -> str:
    return "not counted by the server" if value is None else f"{value:.1f}"


def _print_latencies(report: "Report") -> None:
    from ruvllm.client.load import LATENCIES

    columns = ["ms", "mean", "p50", "p95", "p99", ""]
    rows = [
        (
            name.upper(),
            *(f"{value:.1f}" for value in (values.mean, values.p50, values.p95, values.p99)),
            meaning,
        )
        for name, meaning in LATENCIES.items()
        if (values := report.latencies[name])
    ]
    terminal.show_table(columns, rows, right=columns[1:5])


def _doubts(setting: Mapping[str, Any], report: "Report") -> list[str]:
    doubts = []
    if setting["ignore_eos"] and report.short:
        doubts.append(
            f"{report.short} answers ended before {setting['max_tokens']} tokens: the server does not know "
            "ignore_eos, or its context is too short"
        )
    if 0 < report.uncounted < report.answered:
        doubts.append(f"{report.uncounted} answers came without a count of their tokens")
    if report.late_ms > LATE_MS:
        doubts.append(
            f"1 of 100 requests was sent {report.late_ms:.0f} ms late or later: this machine is too busy for "
            "the load"
        )
    return doubts
