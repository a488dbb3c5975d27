"""The files that are measured: SmolLM2 in five formats, and Gemma-3.

Two of them are models with short names, which are fetched. The other formats are made out of SmolLM2's Q4_1
by llama.cpp (`tests/fixtures/requantize.py`): `make bench-peers` does that, into .bench/models.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from ruvllm import hub
from ruvllm._native import System

__all__ = ["BENCH", "NAMES", "find", "how_to_make", "make", "path_of"]

ROOT = Path(__file__).resolve().parents[1]
BENCH = ROOT / ".bench"
MODELS = BENCH / "models"
FETCHED = {"smollm2-Q4_1": "smollm2-135m", "gemma-3-270m-Q4_K_M": "gemma-3-270m"}
MADE = ("smollm2-Q4_0", "smollm2-Q8_0", "smollm2-Q4_K_M", "smollm2-F16")
NAMES = (
    "smollm2-Q4_0",
    "smollm2-Q4_1",
    "smollm2-Q8_0",
    "smollm2-Q4_K_M",
    "smollm2-F16",
    "gemma-3-270m-Q4_K_M",
)


def find(name: str) -> Path | None:
    """The file of one of `NAMES`, fetched where it can be; `None` where it must be made first."""
    if name in FETCHED:
        return Path(hub.resolve(FETCHED[name], quiet=True))
    folders = [Path(folder) for folder in [os.environ.get("RUVLLM_REQUANTIZED_DIR")] if folder]
    candidates = [folder / f"{name}.gguf" for folder in [*folders, MODELS]]
    return next((path for path in candidates if path.is_file()), None)


def path_of(model: str) -> Path:
    """The file of one of `NAMES`, or of anything that `ruvllm pull` takes."""
    if System.detect().debug_assertions:
        print("this is the build for tests, slower than a release: `make build` first", file=sys.stderr)
    if model not in NAMES:
        return Path(hub.resolve(model))
    path = find(model)
    if path is None:
        raise SystemExit(how_to_make(model))
    return path


def how_to_make(name: str) -> str:
    """What to tell somebody who does not have the file."""
    return (
        f"{name}.gguf is not there: `make bench-peers` makes it in {MODELS.relative_to(ROOT)}; or set "
        "RUVLLM_REQUANTIZED_DIR to the folder in which tests/fixtures/requantize.py put it"
    )


def make(python: Path) -> None:
    """Make the formats that are missing, with the llama_cpp of that interpreter."""
    missing = [name for name in MADE if find(name) is None]
    if not missing:
        return
    print(f"making {', '.join(missing)} in {MODELS}", file=sys.stderr)
    MODELS.mkdir(parents=True, exist_ok=True)
    program = ROOT / "tests" / "fixtures" / "requantize.py"
    formats = [name.removeprefix("smollm2-") for name in missing]
    # Files come to their place whole: one that was half made would be taken for a model.
    with tempfile.TemporaryDirectory(dir=BENCH) as folder:
        command = [str(python), str(program), str(path_of("smollm2-Q4_1")), folder, *formats]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            raise SystemExit(f"{program} failed:\n{result.stderr[-2000:]}")
        for name in missing:
            shutil.move(Path(folder) / f"{name}.gguf", MODELS / f"{name}.gguf")
