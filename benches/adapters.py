"""A batch in which each request has one of eight adapters, beside the same batch without any.

    python -m benches.adapters [MODEL] [--rank 8] [--rows 16] [--threads N]
    python -m benches.adapters --shape 1b

With `--shape` it is a file of that shape with random weights, rank 16: one row with an adapter beside one
without, and eight rows with eight.

The adapters are random, over all seven maps of every layer: what is timed does not depend on the values. Each
round runs the batch without, with, and adapter by adapter, one after the other; ratios are of one round each,
and the median is told.
"""

import argparse
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from benches import files
from benches.shapes import SHAPES, write_shape
from benches.workloads import exactly, token_ids
from ruvllm import LLM, GenerateParams
from ruvllm.adapters import AdapterWeights, Part

ADAPTERS = 8
ANSWER = 64
PROMPT = 128
MARKS = {"decode": 1.35, "prefill": 1.2}
FASTER = 2.5
# Of a larger model: rows, each with an adapter of its own, and what they may cost.
SHAPE_RANK, SHAPE_MARKS = 16, {1: 1.15, 8: 1.3}
MADE = exactly(ANSWER)
READ = GenerateParams(max_tokens=1, temperature=0.0, ignore_eos=True, cache_prefix=False)


@dataclass(frozen=True, slots=True)
class Shape:
    """What an adapter must know of a model."""

    layers: int
    hidden: int
    feed_forward: int
    queries: int
    keys: int

    @classmethod
    def of(cls, llm: LLM, feed_forward: int) -> "Shape":
        """Of a loaded one, which does not say how wide its feed-forward half is."""
        info = llm.model_info
        return cls(
            layers=info.num_layers,
            hidden=info.hidden_size,
            feed_forward=feed_forward,
            queries=info.num_heads * info.head_dim,
            keys=info.num_kv_heads * info.head_dim,
        )

    def modules(self) -> dict[str, tuple[int, int]]:
        """Inputs and outputs of each map."""
        return {
            "q_proj": (self.hidden, self.queries),
            "k_proj": (self.hidden, self.keys),
            "v_proj": (self.hidden, self.keys),
            "o_proj": (self.queries, self.hidden),
            "gate_proj": (self.hidden, self.feed_forward),
            "up_proj": (self.hidden, self.feed_forward),
            "down_proj": (self.feed_forward, self.hidden),
        }


def random_adapter(shape: Shape, rank: int, seed: int) -> AdapterWeights:
    """Small numbers everywhere."""
    numbers = np.random.default_rng(seed)

    def matrix(*size: int) -> NDArray[np.float32]:
        return 0.02 * numbers.standard_normal(size, dtype=np.float32)

    parts = [
        Part(layer=layer, module=module, a=matrix(rank, inputs), b=matrix(outputs, rank), scale=2.0)
        for layer in range(shape.layers)
        for module, (inputs, outputs) in shape.modules().items()
    ]
    return AdapterWeights(parts=tuple(parts))


def seconds_of(
    llm: LLM, prompts: list[list[int]], params: GenerateParams, choices: Sequence[str | None]
) -> float:
    """The time of requests that are submitted together."""
    begin = time.perf_counter()
    llm.generate(prompts, params, adapter=choices)
    return time.perf_counter() - begin


def one_after_the_other(llm: LLM, prompts: list[list[int]], choices: Sequence[str]) -> float:
    """The same requests, those of each adapter by themselves."""
    seconds = 0.0
    for name in dict.fromkeys(choices):
        own = [prompt for prompt, choice in zip(prompts, choices, strict=True) if choice == name]
        seconds += seconds_of(llm, own, MADE, [name] * len(own))
    return seconds


def measure(llm: LLM, *, rows: int, repeat: int) -> bool:
    """Print the table; whether all marks are reached."""
    ids = token_ids(rows * PROMPT, llm.model_info.vocab_size)
    long = [ids[row * PROMPT : (row + 1) * PROMPT] for row in range(rows)]
    short = [prompt[:8] for prompt in long]
    choices = [f"adapter-{row % ADAPTERS}" for row in range(rows)]
    none = [None] * rows
    ratios: dict[str, list[float]] = {"decode": [], "prefill": [], "faster": []}
    for _ in range(repeat):
        without, with_adapters = seconds_of(llm, short, MADE, none), seconds_of(llm, short, MADE, choices)
        ratios["decode"].append(with_adapters / without)
        ratios["faster"].append(one_after_the_other(llm, short, choices) / with_adapters)
        ratios["prefill"].append(seconds_of(llm, long, READ, choices) / seconds_of(llm, long, READ, none))
    reached = True
    for name, mark in MARKS.items():
        ratio = median(ratios[name])
        reached = reached and ratio <= mark
        verdict = "reached" if ratio <= mark else "MISSED"
        print(f"{name:8} {rows} rows, {ADAPTERS} adapters: {ratio:.3f} of without   <= {mark}   {verdict}")
    faster = median(ratios["faster"])
    reached = reached and faster >= FASTER
    verdict = "reached" if faster >= FASTER else "MISSED"
    print(f"together {faster:.2f} times as fast as adapter by adapter   >= {FASTER}   {verdict}")
    return reached


def measure_decode(llm: LLM, marks: Mapping[int, float], *, repeat: int) -> bool:
    """Print what so many rows cost, each with an adapter of its own, against as many without."""
    ids = token_ids(8 * max(marks), llm.model_info.vocab_size)
    reached = True
    for rows, mark in marks.items():
        prompts = [ids[8 * row : 8 * row + 8] for row in range(rows)]
        choices, none = [f"adapter-{row}" for row in range(rows)], [None] * rows
        ratios = []
        for _ in range(repeat):
            without = seconds_of(llm, prompts, MADE, none)
            ratios.append(seconds_of(llm, prompts, MADE, choices) / without)
        ratio = median(ratios)
        reached = reached and ratio <= mark
        verdict = "reached" if ratio <= mark else "MISSED"
        print(f"decode   {rows} rows, {rows} adapters: {ratio:.3f} of without   <= {mark}   {verdict}")
    return reached


def of_shape(name: str, threads: int | None, repeat: int) -> int:
    """The marks of a larger model."""
    shape = SHAPES[name]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.gguf"
        write_shape(shape, path)
        with LLM(path, threads=threads, max_context=512) as llm:
            print(
                f"{llm.model_info.isa} with {llm.model_info.threads} threads, shape {name}, rank {SHAPE_RANK}"
            )
            own = Shape.of(llm, shape.feed_forward)
            for number in range(max(SHAPE_MARKS)):
                llm.adapters.load(f"adapter-{number}", random_adapter(own, SHAPE_RANK, number))
            return 0 if measure_decode(llm, SHAPE_MARKS, repeat=repeat) else 1


def main() -> int:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", default="smollm2-Q4_1")
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--feed-forward", type=int, default=1536, help="of the model; SmolLM2's by default")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--shape", choices=SHAPES, help="a file of random weights in this shape instead")
    options = parser.parse_args()
    if options.shape:
        return of_shape(options.shape, options.threads, options.repeat)
    with LLM(files.path_of(options.model), threads=options.threads, max_context=2048) as llm:
        print(f"{llm.model_info.isa} with {llm.model_info.threads} threads, rank {options.rank}")
        shape = Shape.of(llm, options.feed_forward)
        for number in range(ADAPTERS):
            llm.adapters.load(f"adapter-{number}", random_adapter(shape, options.rank, number))
        return 0 if measure(llm, rows=options.rows, repeat=options.repeat) else 1


if __name__ == "__main__":
    raise SystemExit(main())
