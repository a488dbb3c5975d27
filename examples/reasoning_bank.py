"""A bank of what was tried: recorded, found again by meaning, distilled, and put before a new request.

Run:  python examples/reasoning_bank.py --model smollm2-135m

With `--folder` the bank is kept there, and the next run goes on with it.
"""

import argparse

from ruvllm import LLM, GenerateParams, ReasoningBank, Step, Trajectory, Verdict

PARAMS = GenerateParams(temperature=0.0, repetition_penalty=1.0, max_tokens=12, stop_sequences=("\n",))
# How an answer should look is nowhere said: the bank shows it.
REVIEWS = {
    "The soup was cold.": "thumb=down",
    "I slept very well here.": "thumb=up",
    "It broke after one day.": "thumb=down",
    "What a wonderful evening!": "thumb=up",
    "The staff were rude.": "thumb=down",
    "My children loved it.": "thumb=up",
}
OTHERS = ["How do I make pancakes?", "Translate 'good morning' into French.", "Add up 12, 30 and 7."]


def main() -> None:
    """Record, distill, search, and ask with what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m", help="a short name, a path, or org/repo:Q4_K_M")
    parser.add_argument("--folder", help="where the bank is kept; in memory where there is none")
    arguments = parser.parse_args()

    with LLM(arguments.model) as llm, ReasoningBank(llm, arguments.folder) as bank:
        for review, answer in REVIEWS.items():
            request = f"Rate this review: {review}"
            bank.record(Trajectory(request=request, response=answer, verdict=Verdict.Success, quality=0.9))
        # What failed is kept as well, and can be asked for.
        steps = (Step("guess the kind of the request", "rating"),)
        for other in OTHERS:
            bank.record(Trajectory(request=other, steps=steps, verdict=Verdict.Failure, quality=0.1))

        request = "Rate this review: The room was dirty."
        for match in bank.search(request, 2, verdicts=[Verdict.Success]):
            print(f"{match.similarity:.2f} {match.trajectory.request} -> {match.trajectory.response}")
        patterns = bank.distill()
        print(f"{len(bank)} trajectories, {len(patterns)} patterns")

        context = bank.context(request, 3, max_tokens=200)
        print(f"a context of {context.tokens} tokens from {len(context.used)} trajectories")
        question = f"Request: {request}\nAnswer:"
        print("without:", llm.generate(question, PARAMS).text.strip())
        print("with:", llm.generate(context.text + question, PARAMS).text.strip())


if __name__ == "__main__":
    main()
