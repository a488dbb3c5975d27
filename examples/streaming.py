"""An answer as it is made, then two answers at once with asyncio.

Run:  python examples/streaming.py --model smollm2-135m
"""

import argparse
import asyncio

from ruvllm import LLM, GenerateParams

PARAMS = GenerateParams(max_tokens=48, temperature=0.0)


def stream(llm: LLM, prompt: str) -> None:
    """Print each piece when it comes."""
    for chunk in llm.stream(prompt, PARAMS):
        print(chunk.text, end="", flush=True)
        if chunk.usage:
            print(f"\n[{chunk.finish_reason}, {chunk.usage.completion_tokens} tokens]")


async def collect(llm: LLM, prompt: str) -> str:
    """Gather an answer; other tasks run between its pieces."""
    return "".join([chunk.text async for chunk in llm.astream(prompt, PARAMS)])


async def stream_two(llm: LLM) -> None:
    """Two requests share the engine's steps."""
    prompts = ["The sun is", "The sea is"]
    answers = await asyncio.gather(*(collect(llm, prompt) for prompt in prompts))
    for prompt, answer in zip(prompts, answers, strict=True):
        print(f"{prompt}{answer}")


def main() -> None:
    """Load a model and stream from it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m", help="a short name, a path, or org/repo:Q4_K_M")
    arguments = parser.parse_args()

    with LLM(arguments.model) as llm:
        stream(llm, "Once upon a time")
        asyncio.run(stream_two(llm))


if __name__ == "__main__":
    main()
