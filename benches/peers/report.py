"""What compare.py measured: rows, and both as JSON and as the table that a README shows."""

import datetime
import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, Protocol

from ruvllm.observability.peaks import MachinePeaks

__all__ = ["Line", "Machine", "Measured", "Report", "Row"]

# Below it a figure has one place after the point.
FEW_TOKENS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One test of one file: tokens a second of every pair of runs.

    Attributes:
        name: `pp512`: a prompt of 512 tokens; `tg64`: 64 tokens one by one from an empty context.
        ours: RuvLLM's.
        peer: llama.cpp's, the run before or after each of ours.
        bounds: What the memory (`tg`) or the instruction (`pp`) would have allowed at each pair; empty where
            it was not measured.
    """

    name: str
    ours: list[float]
    peer: list[float]
    bounds: list[float]

    @property
    def ratio(self) -> float:
        """How many times the peer's speed ours is: the middle one of the pairs."""
        return median(ours / peer for ours, peer in zip(self.ours, self.peer, strict=True))

    def share(self, rates: list[float]) -> float | None:
        """What part of their bound `rates` reach: the middle one."""
        if not self.bounds:
            return None
        return median(rate / bound for rate, bound in zip(rates, self.bounds, strict=True))

    def cells(self) -> list[str]:
        """Ours, the peer's, the ratio, and what part of the bound both are."""
        ours, peer = self.share(self.ours), self.share(self.peer)
        shares = "" if ours is None or peer is None else f"{ours:.0%} ({peer:.0%})"
        return [_rate(median(self.ours)), _rate(median(self.peer)), f"**{self.ratio:.2f}**", shares]

    def as_json(self) -> dict[str, Any]:
        """Everything, the derived numbers too."""
        return {
            **asdict(self),
            "ours_median": median(self.ours),
            "peer_median": median(self.peer),
            "ratio": self.ratio,
            "ours_share_of_bound": self.share(self.ours),
            "peer_share_of_bound": self.share(self.peer),
        }


class Line(Protocol):
    """What a report's table is made of, all of one kind."""

    @property
    def isa(self) -> str:
        """What RuvLLM computed with."""

    def titles(self) -> list[str]:
        """The head of the table."""

    def cells(self) -> list[str]:
        """As many as there are titles; the first one is words, the others are figures."""

    def as_json(self) -> dict[str, Any]:
        """Everything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One file: a prompt and an answer."""

    model: str
    isa: str
    operands: str
    prefill: Measured
    decode: Measured

    def titles(self) -> list[str]:
        """What the cells are."""
        return [
            *("file", f"{self.prefill.name}: RuvLLM", "llama.cpp", "ratio", "of the peak"),
            *(f"{self.decode.name}: RuvLLM", "llama.cpp", "ratio", "of the memory"),
        ]

    def cells(self) -> list[str]:
        """In the order of the table."""
        return [self.model, *self.prefill.cells(), *self.decode.cells()]

    def as_json(self) -> dict[str, Any]:
        """Everything."""
        tests = [self.prefill.as_json(), self.decode.as_json()]
        return {"model": self.model, "isa": self.isa, "operands": self.operands, "tests": tests}


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where it was measured."""

    processor: str
    processors: int
    memory_bytes: int | None
    peaks: MachinePeaks

    @classmethod
    def here(cls, peaks: MachinePeaks) -> "Machine":
        """This one, as far as the system tells."""
        allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        known = getattr(os, "sysconf_names", {})
        memory = (
            os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if "SC_PHYS_PAGES" in known else None
        )
        return cls(processor=_processor(), processors=allowed or 1, memory_bytes=memory, peaks=peaks)

    def words(self, isa: str) -> str:
        """In a sentence."""
        memory = f", {self.memory_bytes / 2**30:.0f} GiB" if self.memory_bytes else ""
        bounds = [f"{self.peaks.memory_bytes_per_second / 1e9:.1f} GB/s from memory"] + [
            f"{peak.operations_per_second / 1e9:.0f} GOP/s of {operands} (`{peak.instruction}`)"
            for operands in ("int8", "int16", "f32")
            if (peak := self.peaks.best(isa, operands))
        ]
        machine = f"{self.processor}, {self.processors} processors{memory}"
        return f"{machine}; {self.peaks.threads} threads got {', '.join(bounds)} at best"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything of one run; `remarks` are sentences for those who read its Markdown."""

    ours: str
    peer: str
    build: str
    threads: int
    repeat: int
    machine: Machine
    rows: Sequence[Line]
    remarks: tuple[str, ...] = ()

    def table(self) -> str:
        """The rows in Markdown; shares are ours, and llama.cpp's in brackets."""
        titles = self.rows[0].titles()
        lines = [titles, ["---"] + ["---:"] * (len(titles) - 1), *(row.cells() for row in self.rows)]
        return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)

    def markdown(self) -> str:
        """For a README: what was measured, where and when, and the table."""
        isa = self.rows[0].isa
        date = datetime.datetime.now(tz=datetime.timezone.utc).date()
        peer = f"{self.peer} ({self.build} build)"
        return "\n".join(
            [
                f"{date}, {self.ours} with `{isa}` beside {peer}, {self.threads} threads of",
                f"{self.machine.words(isa)}.",
                f"Tokens a second, medians of {self.repeat} runs in turn; ratios are medians of the pairs'.",
                "Shares are of the operations that the instruction gave, and of the bytes that memory gave,",
                "before and after each pair; llama.cpp's in brackets.",
                *self.remarks,
                "",
                self.table(),
                "",
            ]
        )

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "date": datetime.datetime.now(tz=datetime.timezone.utc).isoformat(timespec="seconds"),
            "ours": self.ours,
            "peer": self.peer,
            "build": self.build,
            "threads": self.threads,
            "repeat": self.repeat,
            "machine": asdict(self.machine),
            "rows": [row.as_json() for row in self.rows],
        }

    def save(self, folder: Path, name: str) -> None:
        """Write JSON and Markdown, by the build, the instruction set and the threads, and say where."""
        folder.mkdir(parents=True, exist_ok=True)
        stem = folder / "-".join([name, self.build, self.rows[0].isa, f"{self.threads}t"])
        stem.with_suffix(".json").write_text(json.dumps(self.as_json(), indent=1) + "\n", encoding="utf-8")
        stem.with_suffix(".md").write_text(self.markdown(), encoding="utf-8")
        print(f"saved as {stem}.json and .md", file=sys.stderr)


def _rate(tokens_per_second: float) -> str:
    return f"{tokens_per_second:.0f}" if tokens_per_second >= FEW_TOKENS else f"{tokens_per_second:.1f}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
