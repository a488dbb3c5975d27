"""The same tokens in fewer steps: guesses are looked up in what the prompt, the answer or a prediction said.

Run:  python examples/speculation.py --model smollm2-135m
"""

import argparse
from dataclasses import replace

from ruvllm import LLM, Completion, GenerateParams

TEXT = (
    "The lamp stands on the north side of the harbour. It was lit first in 1871. "
    "Its keeper trims it at four in the morning and writes down the weather."
)


def show(name: str, answer: Completion) -> None:
    """How many tokens came of how many guesses."""
    usage = answer.usage
    print(
        f"{name}: {usage.completion_tokens} tokens, {usage.drafted_tokens} guessed, "
        f"{usage.accepted_tokens} of them came true"
    )


def main() -> None:
    """Copy a text, then say beforehand what an answer will be like."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m", help="a short name, a path, or org/repo:Q4_K_M")
    arguments = parser.parse_args()

    greedy = GenerateParams(temperature=0.0, repetition_penalty=1.0, max_tokens=64)
    plain = replace(greedy, speculate=False)
    with LLM(arguments.model, speculation="auto") as llm:
        copy = f"Repeat this text word for word:\n\n{TEXT}"
        guessed = llm.chat(copy, greedy)
        show("copied", guessed)
        print("the same without:", llm.chat(copy, plain).token_ids == guessed.token_ids)

        question = "Name ten things that float on water, one a line."
        known = llm.chat(question, plain)
        show("without", known)
        show("foretold", foretold := llm.chat(question, replace(greedy, prediction=known.text)))
        print("the same foretold:", foretold.token_ids == known.token_ids)


if __name__ == "__main__":
    main()
