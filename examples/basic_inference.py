"""One prompt, one answer, and what it took.

Run:  python examples/basic_inference.py --model smollm2-135m
"""

import argparse

from ruvllm import LLM, GenerateParams


def main() -> None:
    """Load a model, ask it, show the answer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m", help="a short name, a path, or org/repo:Q4_K_M")
    parser.add_argument("--question", default="What is the capital of France?")
    arguments = parser.parse_args()

    with LLM(arguments.model) as llm:
        info = llm.model_info
        print(f"{info.name}: {info.num_parameters / 1e6:.0f} M parameters, {info.quantization}, {info.isa}")

        messages = [
            {"role": "system", "content": "Answer in one sentence."},
            {"role": "user", "content": arguments.question},
        ]
        answer = llm.chat(messages, GenerateParams(temperature=0.0, max_tokens=64))
        print(answer.text)

        usage, timings = answer.usage, answer.timings
        print(f"{usage.prompt_tokens} + {usage.completion_tokens} tokens in {timings.total_seconds:.2f} s")


if __name__ == "__main__":
    main()
