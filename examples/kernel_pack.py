"""A signed kernel pack computes parts of the model in a sandbox; the answer is that of the engine alone.

Run:  python examples/kernel_pack.py --model smollm2-135m
"""

import argparse

from ruvllm import LLM, GenerateParams

GREEDY = GenerateParams(temperature=0.0, repetition_penalty=1.0, max_tokens=12)
PROMPT = "The first three planets from the Sun are"


def main() -> None:
    """Ask with the pack that is in the package, and without any."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m", help="a short name, a path, or org/repo:Q4_K_M")
    arguments = parser.parse_args()

    with LLM(arguments.model, max_context=256) as llm:
        own = llm.generate(PROMPT, GREEDY).text
    with LLM(arguments.model, max_context=256, kernel_pack="reference") as llm:
        answer = llm.generate(PROMPT, GREEDY).text
        stats = llm.stats().kernel_pack
    print(f"{PROMPT}{answer}")
    print(f"{stats.pack}: {sum(stats.calls.values())} calls, {sum(stats.fallbacks.values())} fell back")
    print(f"the same text: {answer == own}")


if __name__ == "__main__":
    main()
