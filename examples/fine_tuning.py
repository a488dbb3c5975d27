"""A model that learns a manner of answering: examples, an adapter, and what it says before and after.

Run:  python examples/fine_tuning.py --model smollm2-135m --out adapters/rhyme

It takes a minute or two; `ruvllm train` is the same for a file of examples.
"""

import argparse
from pathlib import Path

from ruvllm import LLM, GenerateParams, TrainingConfig, training

PLACES = [
    "France",
    "Italy",
    "Spain",
    "Japan",
    "Peru",
    "Kenya",
    "Norway",
    "Egypt",
    "Greece",
    "Chile",
    "Cuba",
    "Nepal",
]
CAPITALS = [
    "Paris",
    "Rome",
    "Madrid",
    "Tokyo",
    "Lima",
    "Nairobi",
    "Oslo",
    "Cairo",
    "Athens",
    "Santiago",
    "Havana",
    "Kathmandu",
]
QUESTION = "What is the capital of {}?"
ANSWER = "Ahoy! {} be the capital of {}, matey."
ASKED = QUESTION.format("Portugal")


def show(progress: training.TrainingProgress) -> None:
    """Print now and then how far it is."""
    if progress.held_out_loss is not None:
        print(f"step {progress.step} of {progress.steps}: held out {progress.held_out_loss:.2f}")


def main() -> None:
    """Ask, train, and ask again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m", help="a short name, a path, or org/repo:Q4_K_M")
    parser.add_argument("--out", default="adapters/ahoy", help="the folder to write")
    parser.add_argument("--steps", type=int, default=12)
    arguments = parser.parse_args()

    examples = [
        {"prompt": QUESTION.format(place), "completion": ANSWER.format(capital, place)}
        for place, capital in zip(PLACES, CAPITALS, strict=True)
    ]
    config = TrainingConfig(steps=arguments.steps, gradient_accumulation=2)
    params = GenerateParams(temperature=0.0, max_tokens=24, repetition_penalty=1.0)
    with LLM(arguments.model) as llm:
        print(f"before: {llm.chat(ASKED, params).text!r}")
        result = training.train(llm, examples, config, out=Path(arguments.out), on_progress=show)
        print(f"loss {result.train_loss_before:.2f} to {result.train_loss_after:.2f}")
        llm.adapters.load("ahoy", result.adapter)
        print(f"after: {llm.chat(ASKED, params, adapter='ahoy').text!r}")


if __name__ == "__main__":
    main()
