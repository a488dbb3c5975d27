"""Values instead of texts: what a model answers is an instance of a class, whatever it would rather say.

Run:  python examples/structured_output.py --model smollm2-135m "The bus to Oslo leaves from platform 3."
"""

import argparse
from typing import Literal

from pydantic import BaseModel, Field

from ruvllm import LLM, GenerateParams, Grammar, GrammarError


class Departure(BaseModel):
    """What is to be found in a sentence."""

    vehicle: Literal["train", "bus", "plane"]
    city: str = Field(max_length=20, pattern="^[A-Z][a-z]+$")
    platform: int = Field(ge=1, le=40)


def main() -> None:
    """Ask for a value, a choice, and something that no answer can be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m", help="a short name, a path, or org/repo:Q4_K_M")
    parser.add_argument("sentence", nargs="?", default="The train to Rome leaves at 9:40 from platform 3.")
    arguments = parser.parse_args()

    greedy = GenerateParams(temperature=0.0, repetition_penalty=1.0, max_tokens=64)
    asked = [
        {
            "role": "user",
            "content": f"{arguments.sentence}\n\nWhich vehicle, which city, which platform? As JSON.",
        }
    ]
    with LLM(arguments.model) as llm:
        departure = llm.generate_json(asked, Departure, greedy)
        print(f"{departure!r}")

        choice = GenerateParams(temperature=0.0, grammar=Grammar.choice(["morning", "evening"]))
        print(llm.chat(f"{arguments.sentence} Is that in the morning or in the evening?", choice).text)

        try:
            llm.generate_json(asked, {"type": "array", "items": {"not": {"type": "string"}}})
        except GrammarError as error:
            print(f"refused at {error.pointer}")


if __name__ == "__main__":
    main()
