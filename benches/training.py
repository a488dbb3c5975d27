"""A fine-tune as people do them: a hundred short examples, 200 steps of rank 8, and what became of it.

    python -m benches.training [MODEL] [--steps 200] [--per-step 4] [--threads N]
    python -m benches.training --peft PYTHON [--steps 10]

With `--peft` the same examples, in the same order and batches, are trained by us and by `peft` on PyTorch,
with the interpreter PYTHON, which has torch, transformers, peft and gguf: tokens a second, and the highest
memory of both processes. PyTorch gets the weights in f32, as transformers reads them.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benches.files import ROOT
from benches.training_examples import sailor_examples
from ruvllm import TrainingConfig, hub
from ruvllm.training import TrainableModel
from ruvllm.training.encoding import Encoder
from ruvllm.training.order import Order
from ruvllm.training.records import read_records

RANK, ALPHA, RATE = 8, 16, 0.002
MARKS = {"train": 0.7, "minutes": 15, "tokens_per_second": 1.5, "memory": 0.5}
MAX_TOKENS = 1024


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", nargs="?", default="smollm2-135m")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--per-step", type=int, default=4, help="examples of a step, computed together")
    parser.add_argument("--threads", type=int)
    parser.add_argument(
        "--peft", metavar="PYTHON", help="an interpreter with torch, transformers, peft, gguf"
    )
    arguments = parser.parse_args()
    path = Path(hub.resolve(arguments.model, quiet=True))
    with tempfile.TemporaryDirectory() as folder:
        if arguments.peft:
            return compare(path, Path(folder), arguments)
        return learn(path, Path(folder), arguments)


def learn(path: Path, folder: Path, arguments: argparse.Namespace) -> int:
    """Train, print what it came to, and hold it to the marks."""
    result = trained(path, folder, arguments, arguments.steps or 200, held_out=0.1)
    before, after = result["train_loss_before"], result["train_loss_after"]
    held_before, held_after = result["held_out_loss_before"], result["held_out_loss_after"]
    print(f"trained on  {before:.4f} to {after:.4f} ({after / before - 1:+.0%})")
    print(f"held out    {held_before:.4f} to {held_after:.4f} ({held_after / held_before - 1:+.0%})")
    print(f"time        {result['seconds']:.0f} s, {result['tokens_per_second']:.0f} tokens/s")
    print(
        f"memory      {memory_of(result):.0f} MB, of it for gradients {result['activation_bytes'] / 1e6:.0f}"
    )
    is_good = after <= MARKS["train"] * before and held_after < held_before
    is_fast = result["seconds"] <= 60 * MARKS["minutes"]
    print("marks       " + ("held" if is_good and is_fast else "missed"))
    return 0 if is_good and is_fast else 1


def compare(path: Path, folder: Path, arguments: argparse.Namespace) -> int:
    """Both on the same work, one after the other."""
    steps = arguments.steps or 10
    work = work_of(path, steps, arguments)
    (folder / "work.json").write_text(json.dumps(work), encoding="utf-8")
    ours = trained(path, folder, arguments, steps, held_out=0.0)
    command = [arguments.peft, str(ROOT / "benches" / "training_peft.py"), str(folder / "work.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stderr[-2000:], file=sys.stderr)
        return 1
    theirs = json.loads(done.stdout.splitlines()[-1])
    faster = ours["tokens_per_second"] / theirs["tokens_per_second"]
    smaller = memory_of(ours) / memory_of(theirs)
    print(f"loss of the first step: ours {ours['losses'][0]:.4f}, peft {theirs['losses'][0]:.4f}")
    print(f"loss of the last step:  ours {ours['losses'][-1]:.4f}, peft {theirs['losses'][-1]:.4f}")
    print(
        f"tokens a second: ours {ours['tokens_per_second']:.1f}, peft {theirs['tokens_per_second']:.1f}: "
        f"{faster:.2f} times (mark {MARKS['tokens_per_second']})"
    )
    print(
        f"memory: ours {memory_of(ours):.0f} MB, peft {memory_of(theirs):.0f} MB: "
        f"{smaller:.2f} times (mark {MARKS['memory']})"
    )
    return 0 if faster >= MARKS["tokens_per_second"] and smaller <= MARKS["memory"] else 1


def trained(
    path: Path, folder: Path, arguments: argparse.Namespace, steps: int, *, held_out: float
) -> dict[str, Any]:
    """What `ruvllm train` says of a run, in a process of its own, and the loss of each step."""
    data = folder / "examples.jsonl"
    data.write_text("".join(json.dumps(one) + "\n" for one in sailor_examples()), encoding="utf-8")
    flags = [
        "--rank",
        RANK,
        "--alpha",
        ALPHA,
        "--learning-rate",
        RATE,
        "--steps",
        steps,
        "--held-out",
        held_out,
    ]
    flags += ["--batch-size", arguments.per_step, "--gradient-accumulation", 1, "--json"]
    if arguments.threads:
        flags += ["--threads", arguments.threads]
    out = ["--model", path, "--out", folder / "adapter"]
    command = [sys.executable, "-m", "ruvllm", "train", data, *out, *flags]
    done = subprocess.run([str(one) for one in command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    *lines, last = [json.loads(line) for line in done.stdout.splitlines()]
    result: dict[str, Any] = last["result"]
    return {**result, "losses": [line["loss"] for line in lines]}


def work_of(path: Path, steps: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """The same for `peft`: tokens, which of them are learned, and which examples each step takes."""
    model = TrainableModel.load(path)
    encoder = Encoder(
        text=model.text, end_tokens=model.end_tokens, max_tokens=MAX_TOKENS, quality_threshold=0.0
    )
    examples = encoder.conversations(read_records(sailor_examples()))
    config = TrainingConfig(steps=steps, batch_size=arguments.per_step, gradient_accumulation=1, held_out=0.0)
    order = Order.of(list(range(len(examples))), config)
    return {
        "model": str(path),
        "threads": arguments.threads,
        "rank": RANK,
        "alpha": ALPHA,
        "learning_rate": RATE,
        "tokens": [one.whole for one in examples],
        "is_answer": [[False, *(one.shares[:, 0] > 0).tolist()] for one in examples],
        "steps": [order.of_step(step) for step in range(steps)],
    }


def memory_of(result: dict[str, Any]) -> float:
    return float(result["peak_resident_bytes"] / 1e6)


if __name__ == "__main__":
    sys.exit(main())
