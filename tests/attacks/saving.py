"""Processes that save one prefix cache over and over, two at once, and are killed while they do.

    python saving.py MODEL TARGET SAVES SEED

Writes a line of JSON at the end: how many saves ended well, how many found the disk full, how many ended
otherwise, how many processes were killed.
A process of its own, which has no thread when it forks.
"""

import errno
import json
import os
import random
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from ruvllm import LLM, GenerateParams, RuvLLMError

# Eight at once.
PROCESSES = 2
THREADS = 4
MAX_PROMPTS = 4
PROMPT_TOKENS = 40
SAVED, FULL, OTHERWISE = b"s", b"f", b"o"
# Less than a cache has; a disk on which so much is free is as full as one on which nothing is.
FULL_BYTES = 9_000


def filled(model: Path, num_prompts: int) -> LLM:
    """A model that keeps so many prompts; the file of one is always of the same size."""
    llm = LLM(model, threads=1, max_context=128, kv_cache_bytes=4 << 20)
    for number in range(num_prompts):
        prompt = [(number * 7 + index * 3) % 300 + 5 for index in range(PROMPT_TOKENS)]
        llm.generate(prompt, GenerateParams(max_tokens=1))
    return llm


def save_for_ever(model: Path, target: Path, report: int, seed: int) -> None:
    """Save with all threads; now and then the disk is full for a moment."""
    chance = random.Random(seed)
    llm = filled(model, chance.randint(1, MAX_PROMPTS))

    def save() -> None:
        while True:
            try:
                llm.prefix_cache.save(target)
            except RuvLLMError as error:
                is_full = os.strerror(errno.EFBIG) in str(error)
                os.write(report, FULL if is_full else OTHERWISE)
            else:
                os.write(report, SAVED)

    for _ in range(THREADS):
        threading.Thread(target=save, daemon=True).start()
    import resource  # where there are no forks it is not there either, and the test reads this file's numbers

    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    while True:
        time.sleep(chance.uniform(0, 0.03))
        resource.setrlimit(resource.RLIMIT_FSIZE, (FULL_BYTES, hard))
        time.sleep(chance.uniform(0, 0.01))
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


def started(model: Path, target: Path, report: int, seed: int) -> int:
    """A process that saves, and reports each save by a byte."""
    child = os.fork()
    if child == 0:
        with suppress(BaseException):
            save_for_ever(model, target, report, seed)
        os._exit(1)
    return child


def killed_while_saving(model: Path, target: Path, seed: int) -> bytes:
    """Let processes save, kill each at any moment, and give what they reported."""
    chance = random.Random(seed)
    reported, report = os.pipe()
    children = [started(model, target, report, seed * PROCESSES + one) for one in range(PROCESSES)]
    os.close(report)
    with os.fdopen(reported, "rb") as pipe:
        outcomes = pipe.read(1)
        for child in children:
            time.sleep(chance.uniform(0, 0.1))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        return outcomes + pipe.read()


def main(model: str, target: str, saves: str, seed: str) -> None:
    """Until so many saves have ended well."""
    outcomes, rounds = b"", 0
    while outcomes.count(SAVED) < int(saves):
        outcomes += killed_while_saving(Path(model), Path(target), int(seed) + rounds)
        rounds += 1
    counts = {"saved": SAVED, "full": FULL, "otherwise": OTHERWISE}
    found = {name: outcomes.count(byte) for name, byte in counts.items()}
    print(json.dumps(found | {"killed": rounds * PROCESSES}))


if __name__ == "__main__":
    main(*sys.argv[1:])
