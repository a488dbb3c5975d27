"""Calls of the Berkeley Function Calling Leaderboard, version 4: tools, and what should be called of them.

`bfcl.json` is a part of the data of the package `bfcl-eval` 2026.3.23 (Apache-2.0), as it stands there; its
questions are left out. `python -m tests.text.response.bfcl WHEEL` takes that part anew.
"""

import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruvllm.tools import ToolDefinition

PACKAGE = "bfcl-eval==2026.3.23"
FIXTURE = Path(__file__).parent / "bfcl.json"
# How many of each set are in the fixture.
PARTS = {
    "simple_python": 14,
    "multiple": 10,
    "parallel": 14,
    "parallel_multiple": 10,
    "simple_java": 12,
    "simple_javascript": 12,
    "live_simple": 14,
    "live_multiple": 6,
    "live_parallel": 10,
    "live_parallel_multiple": 8,
}
# Their own names of types.
TYPES = {
    "dict": "object",
    "HashMap": "object",
    "Hashtable": "object",
    "float": "number",
    "double": "number",
    "tuple": "array",
    "ArrayList": "array",
    "Array": "array",
    "long": "integer",
    "String": "string",
    "Boolean": "boolean",
}


def fetch_wheel(folder: Path) -> Path:
    """The whole benchmark, over the package index."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
    subprocess.run([*pip, PACKAGE], check=True, capture_output=True)
    return next(folder.glob("*.whl"))


@dataclass(frozen=True)
class Case:
    """Tools and the calls that are right."""

    name: str
    tools: list[ToolDefinition]
    calls: list[tuple[str, dict[str, Any]]]


def cases(entries: list[dict[str, Any]]) -> Iterator[Case]:
    for entry in entries:
        tools = {
            function["name"]: ToolDefinition(
                name=function["name"], parameters=schema_of(function["parameters"])
            )
            for function in entry["function"]
        }
        calls = [
            (name, _arguments(allowed, tools[name].schema))
            for call in entry["ground_truth"]
            for name, allowed in call.items()
        ]
        yield Case(entry["id"], list(tools.values()), calls)


def entries_of(wheel: Path, limits: dict[str, int] | None = None) -> list[dict[str, Any]]:
    """The entries of a wheel: all, or the first of each set."""
    found = []
    with zipfile.ZipFile(wheel) as archive:
        for part in PARTS:
            questions = _lines(archive, f"bfcl_eval/data/BFCL_v4_{part}.json")
            answers = {
                one["id"]: one
                for one in _lines(archive, f"bfcl_eval/data/possible_answer/BFCL_v4_{part}.json")
            }
            for question in questions[: limits[part] if limits else None]:
                answer = answers[question["id"]]["ground_truth"]
                found.append({"id": question["id"], "function": question["function"], "ground_truth": answer})
    return found


def _lines(archive: zipfile.ZipFile, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in archive.read(name).decode().splitlines() if line.strip()]


def schema_of(schema: Any) -> Any:
    if isinstance(schema, list):
        return [schema_of(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    changed = {key: schema_of(value) for key, value in schema.items()}
    if isinstance(kind := changed.get("type"), str):
        changed["type"] = TYPES.get(kind, kind)
        if changed["type"] in ("any", "char", "Bigint", "set"):
            del changed["type"]
    return changed


def _arguments(allowed: dict[str, list[Any]], schema: dict[str, Any]) -> dict[str, Any]:
    """The first value that is allowed for each; one that may be left out has an empty text for that."""
    values = {}
    for name in schema["properties"]:
        if choices := [one for one in allowed.get(name, []) if one != ""]:
            values[name] = _ordered(_value(choices[0]), schema["properties"][name])
    return values


def _value(value: Any) -> Any:
    """Within a value, each field has a list of those that are allowed."""
    if isinstance(value, dict):
        return {key: _value(one[0]) if isinstance(one, list) and one else one for key, one in value.items()}
    return [_value(one) for one in value] if isinstance(value, list) else value


def _ordered(value: Any, schema: dict[str, Any]) -> Any:
    """The fields of objects in the order of their schema, in which a grammar has them."""
    if isinstance(value, list):
        return [_ordered(one, schema.get("items", {})) for one in value]
    if not isinstance(value, dict):
        return value
    known = schema.get("properties", {})
    names = [*(name for name in known if name in value), *(name for name in value if name not in known)]
    return {name: _ordered(value[name], known.get(name, {})) for name in names}


if __name__ == "__main__":
    kept = entries_of(Path(sys.argv[1]), PARTS)
    FIXTURE.write_text("[\n" + ",\n".join(json.dumps(one) for one in kept) + "\n]\n", encoding="utf-8")
