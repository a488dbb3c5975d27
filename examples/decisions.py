"""Typed questions about some messages, answered with probabilities; nothing is generated.

Run:  python examples/decisions.py --model smollm2-135m
"""

import argparse

from ruvllm import LLM
from ruvllm.decisions import Choice, ChoiceAnswer, DecisionParams, Predicate

MESSAGES = ["My card was charged twice for one order.", "The parcel has not come yet.", "Where are you?"]


def main() -> None:
    """Ask the same of each message."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m", help="a short name, a path, or org/repo:Q4_K_M")
    arguments = parser.parse_args()

    team = Choice("Which team should answer?", ["billing", "shipping", "sales"])
    questions = [team, Predicate("The customer complains.")]
    # Both are shown in all orders, so that the first option has no advantage.
    params = DecisionParams(orders="all", abstain_below=0.4)
    with LLM(arguments.model) as llm:
        for message in MESSAGES:
            decision = llm.decide(message, questions, params)
            chosen, complains = decision.answers
            if isinstance(chosen, ChoiceAnswer):
                name = "nobody is sure" if chosen.abstained else chosen.choice
                print(f"{message} -> {name} ({chosen.confidence:.2f})")
            print(f"  {complains.confidence:.2f} sure, {decision.usage.prompt_tokens} tokens")


if __name__ == "__main__":
    main()
