"""A long beginning that is computed once: for the requests behind it, and for the next start of the program.

Run:  python examples/prefix_cache.py --model smollm2-135m
"""

import argparse
import tempfile
from pathlib import Path

from ruvllm import LLM, GenerateParams

RULES = "You answer questions about a library. " + "Be short, be friendly, and invent nothing. " * 30
PARAMS = GenerateParams(temperature=0.0, max_tokens=8)


def ask(llm: LLM, question: str) -> None:
    """Ask behind the rules, and tell what of the prompt was known already."""
    answer = llm.chat([{"role": "system", "content": RULES}, {"role": "user", "content": question}], PARAMS)
    usage, timings = answer.usage, answer.timings
    print(
        f"{usage.cached_tokens} of {usage.prompt_tokens} tokens were known; "
        f"first word after {timings.first_token_seconds * 1000:.0f} ms"
    )


def main() -> None:
    """Ask twice, keep what was computed in a file, and go on from there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m", help="a short name, a path, or org/repo:Q4_K_M")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rules.prefixes"
        with LLM(arguments.model, max_context=1024) as llm:
            ask(llm, "When do you open?")
            ask(llm, "Where are the maps?")
            llm.prefix_cache.save(file)
        print(f"kept: {file.stat().st_size / 1e6:.1f} MB")
        with LLM(arguments.model, max_context=1024) as llm:
            llm.prefix_cache.load(file)
            ask(llm, "May I keep a book?")


if __name__ == "__main__":
    main()
