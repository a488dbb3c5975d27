"""A wheel as a user gets it: in an empty environment of each Python that is named.

    python -m tests.support.installed_wheel dist/ruvllm-0.1.0-cp310-abi3-linux_x86_64.whl python3.10

There it chats, serves and runs README's code. Nothing of the checkout is on its path but this program, which
needs no package, and the versions that CI installs. `make test-wheel` runs it on the wheel that it has built.
The model is fetched where it is not there yet.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CONSTRAINTS = ROOT / "tests" / "constraints.txt"
MODEL = "smollm2-135m"
QUESTION = ["--system", "Answer in one sentence.", "-T", "0", "--repetition-penalty", "1"]
QUESTION += ["--prompt", "What is the capital of France?"]
ANSWER = "The capital of France is Paris."
# A Python block of README, and what it prints where that is said.
BLOCK = re.compile(r"^```python\n(.*?)^```$.*?^<!-- output:\w+ -->\n```text\n(.*?)^```$", re.M | re.S)
ADDRESS = re.compile(r" at (http://\S+)")
# A model is fetched in this time, too.
SECONDS = 600


class Installed:
    """An environment with the wheel in it, and the folder in which its programs run."""

    def __init__(self, folder: Path, runner: Sequence[str] = ()) -> None:
        self.folder = folder
        self.runner = list(runner)
        self._bin = folder / "venv" / "bin"

    @classmethod
    def of(cls, python: str, wheel: Path, folder: Path) -> "Installed":
        """Made by `python`, with what `ruvllm serve` needs."""
        made = cls(folder)
        made.run([python, "-m", "venv", str(folder / "venv")])
        pip = [made.python, "-m", "pip", "install", "--quiet", "--constraint", str(CONSTRAINTS)]
        made.run([*pip, f"{wheel}[serve]"])
        made.run([made.python, "-m", "pip", "check"])
        return made

    @property
    def python(self) -> str:
        """Its interpreter."""
        return str(self._bin / "python")

    @property
    def environment(self) -> dict[str, str]:
        """A user's: of ours only where models lie."""
        ours = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "RUVLLM_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        models = {name: os.environ[name] for name in ("RUVLLM_CACHE_DIR",) if name in os.environ}
        return {**kept, **models, "PYTHONIOENCODING": "utf-8"}

    def ruvllm(self, *arguments: str) -> str:
        """What the program prints."""
        program = [str(self._bin / "ruvllm"), *arguments]
        return self.run([*self.runner, self.python, *program] if self.runner else program)

    def run(self, command: Sequence[str]) -> str:
        """The output of a command that must succeed."""
        done = subprocess.run(
            command,
            capture_output=True,
            encoding="utf-8",
            timeout=SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
            cwd=self.folder,
            env=self.environment,
        )
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout

    @contextmanager
    def serving(self) -> Iterator[str]:
        """`ruvllm serve` at a port that is free; its address. It must end by itself when told to."""
        command = [str(self._bin / "ruvllm"), "serve", MODEL, "--port", "0"]
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            cwd=self.folder,
            env=self.environment,
        ) as process:
            assert process.stderr is not None
            # Whoever reads of a server that is silent waits until it ends.
            too_long = threading.Timer(SECONDS, process.kill)
            too_long.daemon = True
            too_long.start()
            said = ""
            try:
                for line in process.stderr:
                    said += line
                    if found := ADDRESS.search(line):
                        yield found[1]
                        break
                else:
                    raise SystemExit(f"ruvllm serve named no address:\n{said}")
            finally:
                process.terminate()
                process.stderr.read()
                too_long.cancel()
        expect("the server's exit status", process.returncode, 0)


def expect(what: str, found: object, wanted: object) -> None:
    """End where it is something else."""
    if found != wanted:
        raise SystemExit(f"{what} is {found!r}; it should be {wanted!r}")


def try_all(installed: Installed, version: str) -> None:
    """Whatever a user does first."""
    where = installed.run([installed.python, "-c", "import ruvllm._native as it; print(it.__file__)"])
    expect("whether the extension is the environment's", "site-packages" in where, True)
    expect("the version", installed.ruvllm("--version").split()[-1], version)
    expect("the answer", installed.ruvllm("chat", MODEL, *QUESTION).strip(), ANSWER)
    blocks = BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    expect("how many blocks README has", len(blocks), 1)
    for code, output in blocks:
        printed = installed.run([installed.python, "-W", "error", "-c", code])
        expect("what README's code prints", printed.rstrip(), output.rstrip())
    with installed.serving() as address:
        expect("what the server says", asked(address), ANSWER)
        with urllib.request.urlopen(f"{address}/", timeout=30) as page:
            expect("whether the page is there", b"<title>" in page.read(), True)


def asked(address: str) -> Any:
    """The answer of a server to the question."""
    messages = [{"role": "system", "content": QUESTION[1]}, {"role": "user", "content": QUESTION[-1]}]
    body = json.dumps({"model": MODEL, "messages": messages, "temperature": 0, "max_tokens": 40})
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(f"{address}/v1/chat/completions", body.encode(), headers)
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:
        return json.load(answer)["choices"][0]["message"]["content"]


def main() -> None:
    """Try a wheel on each Python."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("pythons", nargs="*", default=[sys.executable])
    parser.add_argument("--runner", default="", help="plays an older processor: 'qemu-x86_64 -cpu Nehalem'")
    arguments = parser.parse_args()
    wheel = arguments.wheel.resolve(strict=True)
    for python in arguments.pythons:
        with tempfile.TemporaryDirectory() as folder:
            installed = Installed.of(python, wheel, Path(folder))
            told = installed.run(
                [installed.python, "-c", "import platform; print(platform.python_version())"]
            )
            try_all(installed, wheel.name.split("-")[1])
            if arguments.runner:
                played = Installed(installed.folder, arguments.runner.split())
                expect("the answer", played.ruvllm("chat", MODEL, *QUESTION).strip(), ANSWER)
            print(f"{told.strip()}: it chats, serves and runs README's code", flush=True)


if __name__ == "__main__":
    main()
