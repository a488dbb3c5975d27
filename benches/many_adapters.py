"""Thousands of adapters by name, within a budget of bytes, asked for by a few often and by many seldom.

    python -m benches.many_adapters [--names 2000] [--budget-mb 256] [--requests 600]

Folders of PEFT's: eight contents of rank 8 over all seven maps of SmolLM2-135M, linked under many names,
each name with a scale of its own, so that all of them are different adapters. Requests follow Zipf's law;
every answer is compared with what the same adapter answers in a model that has room for it alone. Loading is
timed where a request would wait for it: of an adapter that is ready, and of one that is read from its folder
(in the system's file cache).
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import numpy as np

from benches import files
from benches.adapters import Shape, random_adapter
from ruvllm import LLM, GenerateParams
from ruvllm.adapters.peft_folder import CONFIG, WEIGHTS
from ruvllm.adapters.peft_writer import write_peft

CONTENTS = 8
RANK = 8
FEED_FORWARD = 1536
ZIPF = 1.2
PROMPT = [1, 504, 2367, 282, 260]
PARAMS = GenerateParams(
    max_tokens=4, temperature=0.0, repetition_penalty=1.0, ignore_eos=True, speculate=False
)
HOT_SECONDS, COLD_SECONDS = 100e-6, 10e-3


def make_folders(root: Path, shape: Shape, names: int) -> list[Path]:
    """As many adapters as names, of few contents."""
    for number in range(CONTENTS):
        write_peft(random_adapter(shape, RANK, number), root / f"content-{number}")
    folders = []
    for number in range(names):
        source, folder = root / f"content-{number % CONTENTS}", root / f"adapter-{number}"
        folder.mkdir()
        os.link(source / WEIGHTS, folder / WEIGHTS)
        config = json.loads((source / CONFIG).read_text("utf-8"))
        config["lora_alpha"] = RANK * (1 + number / names)
        config["alpha_pattern"] = {}
        (folder / CONFIG).write_text(json.dumps(config), "utf-8")
        folders.append(folder)
    return folders


def loading_seconds(llm: LLM, asked: Sequence[str]) -> tuple[list[float], list[float]]:
    """What a request waits for its adapter: where it is ready, and where it is not."""
    hot, cold = [], []
    for name in asked:
        [(generation, _)] = llm.adapters.chosen(name)
        for _ in range(2):
            times = hot if generation.is_ready() else cold
            began = time.perf_counter()
            held = generation.ready()
            times.append(time.perf_counter() - began)
            del held
    return hot, cold


def wrong_answers(llm: LLM, alone: LLM, asked: Sequence[str], folders: Sequence[Path]) -> int:
    """Answers of a busy model that are not those of one that has the adapter for itself."""
    with ThreadPoolExecutor(8) as threads:
        given = list(threads.map(lambda name: llm.generate(PROMPT, PARAMS, adapter=name).token_ids, asked))
    wrong = 0
    for name in dict.fromkeys(asked):
        alone.adapters.load("one", folders[int(name.removeprefix("adapter-"))])
        expected = alone.generate(PROMPT, PARAMS, adapter="one").token_ids
        alone.adapters.unload("one")
        wrong += sum(answer != expected for asker, answer in zip(asked, given, strict=True) if asker == name)
    return wrong


def verdict(name: str, found: str, *, reached: bool) -> bool:
    """Print a mark."""
    print(f"{name:10} {found}   {'reached' if reached else 'MISSED'}", flush=True)
    return reached


def main() -> int:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--names", type=int, default=2000)
    parser.add_argument("--budget-mb", type=int, default=256)
    parser.add_argument("--requests", type=int, default=600)
    options = parser.parse_args()
    model, budget = files.path_of("smollm2-Q4_1"), options.budget_mb * 10**6
    with (
        LLM(model, max_context=512, adapter_bytes=budget) as llm,
        LLM(model, max_context=512) as alone,
        tempfile.TemporaryDirectory() as root,
    ):
        folders = make_folders(Path(root), Shape.of(llm, FEED_FORWARD), options.names)
        began = time.perf_counter()
        for folder in folders:
            llm.adapters.load(folder.name, folder)
        each = (time.perf_counter() - began) / options.names
        print(f"{options.names} names, {each * 1e3:.1f} ms each to load for the first time")
        asked = [
            f"adapter-{number}"
            for number in (np.random.default_rng(0).zipf(ZIPF, options.requests) - 1) % options.names
        ]
        wrong = wrong_answers(llm, alone, asked, folders)
        hot, cold = loading_seconds(llm, asked)
        memory = llm.adapters.memory()
        return (
            0
            if all(
                [
                    verdict("answers", f"{wrong} of {len(asked)} wrong", reached=not wrong),
                    verdict(
                        "hot",
                        f"{median(hot) * 1e6:.1f} us, {len(hot)} times   <= {HOT_SECONDS * 1e6:.0f} us",
                        reached=median(hot) <= HOT_SECONDS,
                    ),
                    verdict(
                        "cold",
                        f"{median(cold) * 1e3:.1f} ms, {len(cold)} times   <= {COLD_SECONDS * 1e3:.0f} ms",
                        reached=median(cold) <= COLD_SECONDS,
                    ),
                    verdict(
                        "resident",
                        f"{memory.used_bytes / 1e6:.0f} MB of {budget / 1e6:.0f} MB, {memory.ready} adapters",
                        reached=memory.used_bytes <= budget + 2**21,
                    ),
                ]
            )
            else 1
        )


if __name__ == "__main__":
    raise SystemExit(main())
