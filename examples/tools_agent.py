"""An agent: the model calls tools, the program runs them and says what came of it, until the model answers.

Run:  python examples/tools_agent.py --model smollm2-135m "How many letters has the word strawberry?"

The first call is required here, so that a small model which was never trained for tools makes one, too.
"""

import argparse
from collections.abc import Callable
from typing import Any

from ruvllm import LLM, GenerateParams, ToolCall, ToolConversation, ToolDefinition

MAX_ROUNDS = 4

TEXT = {"type": "string", "maxLength": 40}
TOOLS = [
    ToolDefinition(
        name="count_letters",
        description="Counts the letters of a word.",
        parameters={"properties": {"word": TEXT}, "required": ["word"]},
        strict=True,
    ),
    ToolDefinition(
        name="turn_around",
        description="Gives a word from its end to its beginning.",
        parameters={"properties": {"word": TEXT}, "required": ["word"]},
        strict=True,
    ),
]
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "count_letters": lambda word: sum(letter.isalpha() for letter in word),
    "turn_around": lambda word: word[::-1],
}


def run(call: ToolCall) -> Any:
    """Run what was called; what goes wrong is told to the model, and ends nothing."""
    print(f"  {call.name}({call.arguments})", end=" -> ")
    try:
        result = FUNCTIONS[call.name](**call.values)
    except Exception as error:  # noqa: BLE001 - whatever a tool does, the conversation goes on
        result = error
    print(result)
    return result


def main() -> None:
    """Ask, and run what is called, a few times at most."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m", help="a short name, a path, or org/repo:Q4_K_M")
    parser.add_argument("question", nargs="?", default="How many letters has the word strawberry?")
    arguments = parser.parse_args()

    params = GenerateParams(temperature=0.0, max_tokens=96)
    with LLM(arguments.model) as llm:
        talk = ToolConversation(llm, TOOLS, params=params, parallel_tool_calls=False)
        print(f"> {arguments.question}")
        answer = talk.send_message(arguments.question, tool_choice="required")
        for left in reversed(range(MAX_ROUNDS)):
            if not answer.tool_calls:
                break
            results = {call.id: run(call) for call in answer.tool_calls}
            answer = talk.submit_tool_results(results, tool_choice="auto" if left else "none")
        print(answer.text)


if __name__ == "__main__":
    main()
