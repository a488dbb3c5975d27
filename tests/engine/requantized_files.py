"""SmolLM2's other formats, for the tests marked `requantized`: `make test-requantized` makes them.

llama.cpp makes them out of the fetched file, in the version that the references were computed with. It is
compiled once (about ten minutes on two cores) in an environment of its own beside the files; what is there
and has its sum stays.
"""

import hashlib
import subprocess
import sys
import venv
from pathlib import Path

from ruvllm import hub
from tests.conftest import FIXTURES

REQUIREMENT = "llama-cpp-python==0.3.36"


def sums() -> dict[str, str]:
    """The SHA-256 of each file by its name."""
    lines = (FIXTURES / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    pairs = (line.split() for line in lines)
    return {name: digest for digest, name in pairs if name.startswith("smollm2-")}


def missing(folder: Path) -> list[str]:
    """Those that are not there, or are something else."""

    def is_there(name: str, digest: str) -> bool:
        path = folder / name
        return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == digest

    return [name for name, digest in sums().items() if not is_there(name, digest)]


def make(folder: Path) -> None:
    """Make what is missing."""
    wanted = missing(folder)
    if not wanted:
        return
    environment = folder / "llama-cpp"
    python = environment / "bin" / "python"
    if not python.exists():
        print(f"compiling {REQUIREMENT}: about ten minutes", file=sys.stderr)
        venv.create(environment, with_pip=True)
    install = [str(python), "-m", "pip", "install", "--quiet", REQUIREMENT]
    subprocess.run(install, check=True)
    program = FIXTURES / "requantize.py"
    formats = [name.removeprefix("smollm2-").removesuffix(".gguf") for name in wanted]
    source = hub.resolve("smollm2-135m", quiet=True)
    done = subprocess.run(
        [str(python), str(program), str(source), str(folder), *formats],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"{program} failed:\n{done.stderr[-2000:]}")
    if left := missing(folder):
        raise SystemExit(f"other bytes than the references were computed with: {', '.join(left)}")


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    make(target)
