"""The tables of docs/coming-from.md, row by row: what the last cell says is code."""

import ast
import asyncio
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parents[2] / "docs" / "coming-from.md"
COMMAND = "ruvllm "


@dataclass(frozen=True)
class Row:
    """What is done, and the code of its last cell, statement by statement."""

    what: str
    columns: tuple[str, ...]
    cells: tuple[str, ...]

    @property
    def here(self) -> str:
        return self.cells[-1]

    @property
    def is_refused(self) -> bool:
        """Whether there is no such thing here, and the cell says what to do instead."""
        return self.here.startswith("**no**")

    @property
    def code(self) -> list[str]:
        """The last cell's code; of a cell that says no, its last one, behind names that it only mentions."""
        spans = re.findall(r"`([^`]+)`", self.here)
        return [one for one in spans if not re.fullmatch(r"\w+", one)] if self.is_refused else spans

    @property
    def is_command(self) -> bool:
        return self.code[0].startswith(COMMAND) if self.code else False


def rows() -> Iterator[Row]:
    """Every row of every table whose last column is `here`."""
    columns: tuple[str, ...] = ()
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if not line.startswith("|"):
            columns = ()
            continue
        # A bar that is escaped is text.
        cells = tuple(
            cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))
        )
        if not columns:
            columns = cells
        elif columns[-1] == "here" and not set(line) <= set("|-: "):
            assert len(cells) == len(columns), line
            yield Row(cells[0], columns, cells)


def preparation() -> str:
    """The block of code that stands before the rows."""
    behind = PAGE.read_text(encoding="utf-8").partition("\n## In Python\n")[2]
    found = re.search(r"^```python\n(.*?)^```$", behind, re.M | re.S)
    assert found is not None
    return found[1]


def value_of(code: list[str], names: dict[str, Any]) -> Any:
    """Run statements one after the other; the value of the last one, awaited where it is to be."""

    async def run() -> Any:
        value = None
        for statement in code:
            value = _compiled_and_run(statement, names)
            if inspect.isawaitable(value):
                value = await value
        return value

    return asyncio.run(run())


def _compiled_and_run(statement: str, names: dict[str, Any]) -> Any:
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    tree = ast.parse(statement)
    assert len(tree.body) == 1, statement
    mode = "eval" if isinstance(tree.body[0], ast.Expr) else "exec"
    return eval(compile(statement, statement, mode, flags=flags), names)
