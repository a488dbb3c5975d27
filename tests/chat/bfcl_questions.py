"""Questions of the Berkeley Function Calling Leaderboard, and what a model's calls are worth."""

import json
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruvllm.tools import ToolCall, ToolDefinition
from tests.text.response.bfcl import schema_of

# So many of each set: one call, one call out of several tools, and one in the words of a user.
SETS = {"simple_python": 40, "multiple": 30, "live_simple": 30}


@dataclass(frozen=True)
class Question:
    """What is asked, the tools, and the calls that are right: by argument the values that may be."""

    messages: list[dict[str, Any]]
    tools: list[ToolDefinition]
    right: list[dict[str, dict[str, list[Any]]]]

    def is_answered_by(self, calls: Sequence[ToolCall]) -> bool:
        if len(calls) != len(self.right):
            return False
        return all(_is_right(call, right) for call, right in zip(calls, self.right, strict=True))


def questions(wheel: Path) -> Iterator[Question]:
    with zipfile.ZipFile(wheel) as archive:
        for name, count in SETS.items():
            asked = _lines(archive, f"bfcl_eval/data/BFCL_v4_{name}.json")
            right = {
                one["id"]: one["ground_truth"]
                for one in _lines(archive, f"bfcl_eval/data/possible_answer/BFCL_v4_{name}.json")
            }
            for one in asked[:count]:
                # Clients allow no dots in names.
                tools = [
                    ToolDefinition(
                        name=_name(tool["name"]),
                        description=tool["description"],
                        parameters=schema_of(tool["parameters"]),
                    )
                    for tool in one["function"]
                ]
                yield Question(one["question"][0], tools, right[one["id"]])


def _lines(archive: zipfile.ZipFile, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in archive.read(name).decode().splitlines() if line.strip()]


def _name(name: str) -> str:
    return name.replace(".", "_")


def _is_right(call: ToolCall, right: dict[str, dict[str, list[Any]]]) -> bool:
    ((name, allowed),) = right.items()
    try:
        values = json.loads(call.arguments)
    except ValueError:
        return False
    if call.name != _name(name) or not isinstance(values, dict) or not values.keys() <= allowed.keys():
        return False
    # An empty text says that an argument may be left out.
    return all(
        any(_plain(values[one]) == _plain(value) for value in choices) if one in values else "" in choices
        for one, choices in allowed.items()
    )


def _plain(value: Any) -> Any:
    """A text without what the leaderboard does not look at, a number as a number."""
    if isinstance(value, str):
        return "".join(one for one in value.lower() if one not in " ,./-_*^'\"")
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        # In what is right, each field of an object has a list of values.
        return {key: _plain(one[0] if isinstance(one, list) and one else one) for key, one in value.items()}
    return value
