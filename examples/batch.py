"""Many inputs with one instruction, which is computed once; what fails holds up nothing else.

Run:  python examples/batch.py --model smollm2-135m
"""

import argparse

from ruvllm import LLM, BatchInference

SHOWN = "Countries, each with its capital.\nItaly: Rome\nJapan: Tokyo\nKenya: Nairobi\nCanada: Ottawa\n"
COUNTRIES = ["France:", "Egypt:", "word " * 2000, "Norway:", "Greece:"]


def main() -> None:
    """Show each answer when it is there, and an error in the place of one that cannot be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m", help="a short name, a path, or org/repo:Q4_K_M")
    arguments = parser.parse_args()

    with LLM(arguments.model, max_context=1024) as llm:
        batch = BatchInference(llm, SHOWN, temperature=0, repetition_penalty=1, max_tokens=8, stop="\n")
        for index, outcome in batch.stream(COUNTRIES):
            if isinstance(outcome, Exception):
                print(f"[{index}] {type(outcome).__name__}: {outcome}")
            else:
                known = outcome.usage.cached_tokens
                print(f"[{index}] {COUNTRIES[index]} {outcome.text.strip()} ({known} tokens were known)")
        print(f"{batch.usage.prompt_tokens} tokens read, {batch.usage.completion_tokens} made")


if __name__ == "__main__":
    main()
