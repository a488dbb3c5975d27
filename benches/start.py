"""From nothing to the first token: a process starts, loads a model, answers; with and without its image.

    make bench-start                                      SmolLM2
    python -m benches.start --shape 8b --format Q4_K      a file of random weights in that shape
    python -m benches.start --peer-python PYTHON          llama.cpp in that interpreter beside it

`image` maps what `ruvllm prepare` packed, `packed anew` does not. The model's file and the image are in the
system's cache; seconds are from the start of the interpreter, its imports included, and the middle of
`--repeat`. `own` is the memory that belongs to a process alone while another one serves the same model. The
marks are of the shape 8b.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import IO

from benches import files, size_files
from benches.peers.environment import warn_of_company
from benches.shapes import FORMATS, SHAPES
from benches.sizes import VOCABULARY

MOST_SECONDS, MOST_OWN_SHARE = 1.5, 0.15
CONTEXT = 512

# Both say that they have answered and what they have of their own, and wait until their input is closed.
RUVLLM = """
import sys
from ruvllm import LLM, GenerateParams
llm = LLM(sys.argv[1], max_context=int(sys.argv[2]), weight_image=sys.argv[3])
llm.generate([[1, 5, 9]], GenerateParams(max_tokens=1, temperature=0.0, ignore_eos=True))
"""
LLAMA_CPP = """
import sys
from llama_cpp import Llama
llm = Llama(sys.argv[1], n_ctx=int(sys.argv[2]), verbose=False)
llm.eval([1, 5, 9])
llm.sample(temp=0.0)
"""
ANSWERED = """
print("answered", flush=True)
own = 0
try:
    for row in open("/proc/self/status"):
        if row.startswith("RssAnon"):
            own = int(row.split()[1]) * 1024
except OSError:
    pass
print(own, flush=True)
sys.stdin.read()
"""


class Started:
    """A process that has answered, and waits."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        begin = time.perf_counter()
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.line()
        self.seconds = time.perf_counter() - begin
        self.own_bytes = int(self.line())

    def line(self) -> str:
        """What it says next; an error where it ended instead."""
        output = self._process.stdout
        said = output.readline() if output else ""
        if not said:
            raise SystemExit("a process ended before it had answered; its message stands above")
        return said

    def end(self) -> None:
        """Let it go."""
        stdin: IO[str] | None = self._process.stdin
        if stdin:
            stdin.close()
        self._process.wait()


def seconds_and_own(command: list[str], environment: dict[str, str], repeat: int) -> tuple[float, int]:
    """The middle of the times; and what the second of two processes has of its own."""
    first = Started(command, environment)
    seconds, own = [], 0
    for _ in range(repeat):
        another = Started(command, environment)
        seconds.append(another.seconds)
        own = another.own_bytes
        another.end()
    first.end()
    return median(seconds), own


def model_of(options: argparse.Namespace) -> Path:
    """The file to start with."""
    if not options.shape:
        return files.path_of(options.model)
    shape = replace(SHAPES[options.shape], vocabulary=VOCABULARY)
    return size_files.file_of(options.shape, options.format, shape)


def main() -> int:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", default="smollm2-Q4_1")
    parser.add_argument("--shape", choices=SHAPES, help="random weights in this shape instead")
    parser.add_argument("--format", choices=FORMATS, default="Q4_K")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--peer-python", help="an interpreter that has llama-cpp-python")
    options = parser.parse_args()
    warn_of_company()
    path = model_of(options)
    size = path.stat().st_size
    # Beside the model, so that there is as much room for the image as for it.
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        environment = {**os.environ, "RUVLLM_CACHE_DIR": folder}
        ours = [sys.executable, "-c", RUVLLM + ANSWERED, str(path), str(CONTEXT)]
        Started([*ours, "keep"], environment).end()
        rows = {
            "packed anew": seconds_and_own([*ours, "off"], environment, options.repeat),
            "image": seconds_and_own([*ours, "use"], environment, options.repeat),
        }
        if options.peer_python:
            peer = [options.peer_python, "-c", LLAMA_CPP + ANSWERED, str(path), str(CONTEXT)]
            rows["llama.cpp"] = seconds_and_own(peer, environment, options.repeat)
    print(f"{path.name}, {size / 1e9:.2f} GB")
    for name, (seconds, own) in rows.items():
        share = f"{own / 1e6:7.1f} MB own, {own / size:.3f} of the file"
        print(f"{name:12} {seconds:6.2f} s to the first token, {share}")
    if options.shape != "8b":
        return 0
    seconds, own = rows["image"]
    reached = seconds <= MOST_SECONDS and own <= MOST_OWN_SHARE * size
    verdict = "reached" if reached else "MISSED"
    print(f"image        <= {MOST_SECONDS} s, <= {MOST_OWN_SHARE} of the file: {verdict}")
    return 0 if reached else 1


if __name__ == "__main__":
    raise SystemExit(main())
