"""A conversation: each answer goes back in with the next question, and only what is new is computed.

Run:  python examples/chat_multi_turn.py --model smollm2-135m "What is the capital of France?" "And of Italy?"
"""

import argparse

from ruvllm import LLM, ChatSession, GenerateParams


def main() -> None:
    """Ask every question in turn, with what was said before."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m", help="a short name, a path, or org/repo:Q4_K_M")
    parser.add_argument("--system", default="You are a helpful assistant. Answer in one sentence.")
    parser.add_argument("questions", nargs="*", default=["What is the capital of France?", "And of Italy?"])
    arguments = parser.parse_args()

    params = GenerateParams(temperature=0.0, max_tokens=64)
    with LLM(arguments.model) as llm:
        session = ChatSession(llm, arguments.system, params=params)
        for question in arguments.questions:
            print(f"> {question}\n{session.send(question).text}")


if __name__ == "__main__":
    main()
