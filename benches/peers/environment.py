"""Interpreters that have llama.cpp, compiled on this machine; made once, in .bench/.

pip keeps what it compiled and would give the same wheel to both builds, so its cache stays out.
"""

import json
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any

from benches.files import BENCH

__all__ = ["BUILDS", "add_server", "make_environment", "warn_of_company"]

REQUIREMENT = "llama-cpp-python"
BUILDS = {
    "native": "-DGGML_NATIVE=ON",
    "avx2": "-DGGML_NATIVE=OFF -DGGML_AVX512=OFF -DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON -DGGML_BMI2=ON",
}
"""What CMake is told: everything that this processor has, or nothing above AVX2."""


def make_environment(build: str, *, upgrade: bool) -> Path:
    """An interpreter with the latest llama-cpp-python of that build; an older one stays unless `upgrade`."""
    folder = BENCH / f"llama-cpp-{build}"
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    ready = folder / "ready"
    if ready.exists() and not upgrade:
        return python
    print(f"compiling {REQUIREMENT} ({build}) in {folder}: about ten minutes", file=sys.stderr)
    ready.unlink(missing_ok=True)
    venv.create(folder, with_pip=True)
    # What it depends on comes as wheels; it alone is compiled.
    command = [str(python), "-m", "pip", "install", "--quiet", "--upgrade", "--no-cache-dir"]
    settings = {
        "CMAKE_ARGS": BUILDS[build],
        "CMAKE_BUILD_PARALLEL_LEVEL": str(os.cpu_count() or 1),
    }
    requirement = ["--no-binary", REQUIREMENT, REQUIREMENT]
    subprocess.run([*command, *requirement], check=True, env={**os.environ, **settings})
    ready.touch()
    return python


def add_server(python: Path) -> None:
    """What llama-cpp-python's own server stands on, where the interpreter does not have it; wheels only."""
    probe = [str(python), "-c", "import llama_cpp.server.app"]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        command = [str(python), "-m", "pip", "install", "--quiet", f"{REQUIREMENT}[server]"]
        subprocess.run(command, check=True)


def answer_of(python: Path, program: str, work: dict[str, Any]) -> Any:
    """What a program of `benches` for a peer's interpreter says of some work; both are JSON."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "work.json"
        path.write_text(json.dumps(work), encoding="utf-8")
        command = [str(python), str(Path(__file__).parents[1] / program), str(path)]
        run = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return json.loads(run.stdout)


def warn_of_company() -> None:
    """Whatever else runs slows both engines, and not alike: one waits for its threads more than the other."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load > 0.5:
        print(f"{load:.1f} other threads are busy here: the figures will be worth little", file=sys.stderr)
