"""What compare.py measured: rows, and both as JSON and as the table that a README shows."""

import datetime
import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from ruvllm.observability.peaks import MachinePeaks

__all__ = ["Machine", "Measured", "Report", "Row"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One test of one file: tokens a second of every pair of runs.

    Attributes:
        name: `pp512`: a prompt of 512 tokens; `tg64`: 64 tokens one by one from an empty context.
        ours: RuvLLM's.
        peer: llama.cpp's, the run before or after each of ours.
        bound: What the memory (`tg`) or the instruction (`pp`) would allow; `None` where it was not measured.
    """

    name: str
    ours: list[float]
    peer: list[float]
    bound: float | None

    @property
    def ratio(self) -> float:
        """How many times the peer's speed ours is: the middle one of the pairs."""
        return median(ours / peer for ours, peer in zip(self.ours, self.peer, strict=True))

    def share(self, rates: list[float]) -> float | None:
        """What part of the bound the median of `rates` reaches."""
        return median(rates) / self.bound if self.bound else None

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One file."""

    model: str
    isa: str
    operands: str
    prefill: Measured
    decode: Measured

    def cells(self) -> list[str]:
        """In the order of the table."""
        cells = [self.model]
        for test in (self.prefill, self.decode):
            ours, peer = test.share(test.ours), test.share(test.peer)
            shares = "" if ours is None or peer is None else f"{ours:.0%} ({peer:.0%})"
            cells += [f"{median(test.ours):.0f}", f"{median(test.peer):.0f}", f"**{test.ratio:.2f}**", shares]
        return cells

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
        return f"{machine}; {self.peaks.threads} threads get {', '.join(bounds)}, measured in the same run"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything of one run."""

    ours: str
    peer: str
    build: str
    threads: int
    repeat: int
    machine: Machine
    rows: list[Row]

    def table(self) -> str:
        """The rows in Markdown; shares are ours, and llama.cpp's in brackets."""
        prefill, decode = self.rows[0].prefill.name, self.rows[0].decode.name
        titles = [
            *("file", f"{prefill}: RuvLLM", "llama.cpp", "ratio", "of the peak"),
            *(f"{decode}: RuvLLM", "llama.cpp", "ratio", "of the memory"),
        ]
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
                "Shares are of the operations that the instruction gives and of the bytes that memory gives,",
                "llama.cpp's in brackets.",
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


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
