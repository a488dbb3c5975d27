"""An engine in a process of its own: a line of JSON in, a line of JSON out."""

import json
import os
import subprocess
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

__all__ = ["Engine", "EngineEnded"]

HERE = Path(__file__).resolve().parent


class EngineEnded(SystemExit):
    """A process ended before it had answered; where nobody catches it, the benchmark ends too."""


class Engine:
    """The process; `ready` is what it said of itself.

    With `packages` the program imports what lies in that folder before anything that is installed.
    """

    def __init__(
        self, python: Path | str, program: str, *arguments: str, packages: Path | None = None
    ) -> None:
        command = [str(python), str(HERE / program), *arguments]
        environment = {**os.environ, "PYTHONPATH": str(packages)} if packages else None
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.ready = self._read()

    def __enter__(self) -> "Engine":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()

    def seconds(self, test: str, token_ids: list[int], generate: int) -> float:
        """Measure one run of a kind of `tasks.Task` over the tokens, or of `generate` tokens after them."""
        assert self._process.stdin
        request = {"test": test, "token_ids": token_ids, "generate": generate}
        # To one that has ended nothing can be written; reading says so.
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        return float(self._read()["seconds"])

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            self._process.communicate()
            raise EngineEnded(f"{self._process.args!r} ended with status {self._process.returncode}")
        answer: dict[str, Any] = json.loads(line)
        return answer
