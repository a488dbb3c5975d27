"""Which of our instruction sets this machine has, by what the operating system says of its processor.

The engine asks the processor itself, so the two can be held against each other: `make test-isa` requires
what is printed here, and a detection that forgets a set is noticed.
"""

import subprocess
import sys
from pathlib import Path

__all__ = ["machine_isas"]

# Each with the flags that its code needs, as Linux spells them; the best first. On 64-bit ARM likewise.
NEEDS = {
    "avx512": "avx2 fma f16c avx512f avx512bw avx512dq avx512vl avx512_vnni",
    "avx2-vnni": "avx2 fma f16c avx_vnni",
    "avx512-base": "avx2 fma f16c avx512f avx512bw avx512dq avx512vl",
    "avx2": "avx2 fma f16c",
    "sse42": "ssse3 sse4_2",
    "neon-i8mm": "asimd asimddp i8mm",
    "neon-dotprod": "asimd asimddp",
    "neon": "asimd",
}
EVERYWHERE = ("portable", "scalar")
# What macOS calls the same.
OF_APPLE = {
    "hw.optional.AdvSIMD": "asimd",
    "hw.optional.arm.FEAT_DotProd": "asimddp",
    "hw.optional.arm.FEAT_I8MM": "i8mm",
}


def machine_isas() -> tuple[str, ...] | None:
    """The names, the best first; `None` on systems that do not tell."""
    flags = _flags()
    if flags is None:
        return None
    return (*(name for name, needs in NEEDS.items() if flags.issuperset(needs.split())), *EVERYWHERE)


def _flags() -> frozenset[str] | None:
    processors = Path("/proc/cpuinfo")
    if processors.exists():
        lines = processors.read_text("utf-8").splitlines()
        told = [line.partition(":")[2].split() for line in lines if line.startswith(("flags", "Features"))]
        # A program may run on any of them, so what counts is what all have.
        return frozenset.intersection(*map(frozenset, told)) if told else None
    if sys.platform == "darwin":
        return frozenset(flag for name, flag in OF_APPLE.items() if _sysctl(name) == "1")
    return None


def _sysctl(name: str) -> str:
    command = ["/usr/sbin/sysctl", "-n", name]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


if __name__ == "__main__":
    isas = machine_isas()
    if isas is None:
        sys.exit("this system does not say what its processor has")
    print(*isas)
