"""Questions about documents of yours: found by their words, put before the question, answered from there.

Run:  python examples/documents.py --model smollm2-135m
"""

import argparse

from ruvllm import LLM, RagPipeline

DOCUMENTS = [
    "The library opens at nine in the morning. On Sundays it is closed.",
    "Maps are on the second floor, beside the newspapers.",
    "A book may be kept for four weeks, a film for one.",
    "The reading room has twenty desks, each with a lamp.",
]


def main() -> None:
    """Ask, and show which document the answer comes from."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m", help="a short name, a path, or org/repo:Q4_K_M")
    arguments = parser.parse_args()

    with LLM(arguments.model) as llm:
        pipeline = RagPipeline(llm, DOCUMENTS, top_k=1)
        for question in ("When is the library closed?", "Where are the maps?"):
            answer = pipeline.query(question, temperature=0, repetition_penalty=1, max_tokens=24, stop="\n")
            print(f"{question} {answer.text.strip()}")
            print(f"  from: {answer.chunks[0]}")


if __name__ == "__main__":
    main()
