"""What llama-cpp-python answers to the questions that `benches.tools` wrote down; needs nothing else.

Run:  python tools_llama_cpp.py WORK.json

It is asked as its users ask it, by `create_chat_completion` with `tools`: with the template of the model's
file, or with its own format for models of any kind, which holds a call by a grammar.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import llama_cpp

# Its own format puts the tools into a system message, if there is one.
SYSTEM = {"role": "system", "content": "You call the function that answers the question."}


def main() -> None:
    """Ask in both ways, and print what was said and called."""
    work = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    llama = llama_cpp.Llama(
        work["model"],
        n_ctx=work["context"],
        n_threads=work["threads"],
        n_threads_batch=work["threads"],
        chat_format=work["format"],
        verbose=False,
    )
    began = time.perf_counter()
    answers = [ask(llama, question, work) for question in work["questions"]]
    seconds = time.perf_counter() - began
    print(json.dumps({"version": llama_cpp.__version__, "seconds": seconds, "answers": answers}))


def ask(llama: Any, question: dict[str, Any], work: dict[str, Any]) -> dict[str, Any]:
    """The text of an answer, and its calls as name and arguments."""
    before = [] if work["format"] is None else [SYSTEM]
    answer = llama.create_chat_completion(
        messages=[*before, *question["messages"]],
        tools=question["tools"],
        tool_choice="auto",
        temperature=0.0,
        repeat_penalty=1.0,
        max_tokens=work["max_tokens"],
    )
    message = answer["choices"][0]["message"]
    calls = [one["function"] for one in message.get("tool_calls") or []]
    return {
        "text": message["content"] or "",
        "calls": [(one["name"], one["arguments"]) for one in calls],
    }


if __name__ == "__main__":
    main()
