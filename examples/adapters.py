"""One model, several ways to speak: adapters loaded, scaled, merged and replaced, and asked for in one batch.

Run:  python examples/adapters.py --model smollm2-135m

The adapter is one of the tests', trained on a licence's text; any that `peft` wrote for the model will do.
"""

import argparse
from pathlib import Path

from ruvllm import LLM, Completion, GenerateParams

TRAINED = Path(__file__).resolve().parents[1] / "tests/fixtures/adapters/smollm2-licence/adapter"
PARAMS = GenerateParams(temperature=0.0, max_tokens=24)
PROMPT = "This License does not grant permission to use"


def show(what: object, answer: Completion) -> None:
    """Print an answer in a line."""
    print(f"[{what}] {' '.join(answer.text.split())}")


def main() -> None:
    """Load a model and an adapter, and ask in several ways."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m", help="a short name, a path, or org/repo:Q4_K_M")
    parser.add_argument("--adapter", default=str(TRAINED), help="a folder of PEFT's")
    arguments = parser.parse_args()

    with LLM(arguments.model) as llm:
        info = llm.adapters.load("licence", arguments.adapter)
        print(f"{info.name}: rank {info.rank}, {info.num_bytes / 1e6:.1f} MB")
        # One batch: the model itself, the adapter, and half of it.
        choices = [None, "licence", {"licence": 0.5}]
        answers = llm.generate([PROMPT] * len(choices), PARAMS, adapter=choices)
        for choice, answer in zip(choices, answers, strict=True):
            show(choice, answer)
        # What is merged is an adapter like any other.
        llm.adapters.merge("calm", {"licence": 0.5}, "task_arithmetic")
        show("calm", llm.generate(PROMPT, PARAMS, adapter="calm"))
        # A name gets another content without a pause; what is running keeps what it began with.
        with llm.stream(PROMPT, PARAMS, adapter="calm") as running:
            llm.adapters.replace("calm", arguments.adapter)
            show("as it was", running.completion())
        show("replaced", llm.generate(PROMPT, PARAMS, adapter="calm"))


if __name__ == "__main__":
    main()
