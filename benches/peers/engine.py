"""An engine in a process of its own: a line of JSON in, a line of JSON out."""

import json
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any

__all__ = ["Engine"]

HERE = Path(__file__).resolve().parent


class Engine:
    """The process; `ready` is what it said of itself."""

    def __init__(self, python: Path | str, program: str, *arguments: str) -> None:
        command = [str(python), str(HERE / program), *arguments]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.ready = self._read()

    def __enter__(self) -> "Engine":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()

    def seconds(self, test: str, token_ids: list[int], generate: int) -> float:
        """Measure one run of `prefill` over the tokens, or `decode` of `generate` tokens after the first."""
        assert self._process.stdin
        request = {"test": test, "token_ids": token_ids, "generate": generate}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return float(self._read()["seconds"])

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self._process.args!r} ended with status {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer
