"""The mechanical changes that can be made in a Python module.

Comparisons, arithmetic, `and` and `or`, `min` and `max`, numbers and truths, conditions turned round, and
statements left out: calls, assignments to what outlives the function, early endings. Left alone is what
decides nothing: annotations, texts, decorators, imports, what is logged.
"""

import ast
import re
from collections.abc import Iterator
from itertools import pairwise

from tests.mutants.changes import ARITHMETIC, COMPARISONS, EXTREMES, Change

__all__ = ["python_changes"]

BOOLEANS = {"and": "or", "or": "and"}
MEMBERSHIPS = {"is not": "is", "not in": "in", "is": "is not", "in": "not in"}
OPERATORS = {**COMPARISONS, **ARITHMETIC, **BOOLEANS, **MEMBERSHIPS}
OPERATOR = re.compile(r"not\s+in\b|is\s+not\b|\b(?:and|or|is|in)\b|//|\*\*|<<|>>|[<>=!]=|[-+*/%<>]")
LOGS = re.compile(r"(?:self\.)?_?log(?:ger)?\.")


def python_changes(source: str) -> list[Change]:
    """All of them, in order."""
    return sorted(set(_Finder(source).changes()))


class _Finder:
    def __init__(self, source: str) -> None:
        self._source = source
        lines = source.splitlines(keepends=True)
        self._lines = [line.encode() for line in lines]
        self._starts = [0]
        for line in lines:
            self._starts.append(self._starts[-1] + len(line))

    def changes(self) -> Iterator[Change]:
        for statement in ast.parse(self._source).body:
            yield from self._of(statement)

    def _of(self, node: ast.AST) -> Iterator[Change]:
        """Of a node and what is in it."""
        if self._decides_nothing(node):
            return
        yield from self._here(node)
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list", "bases", "type_params"):
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from self._of(child)

    def _decides_nothing(self, node: ast.AST) -> bool:
        if isinstance(node, ast.Import | ast.ImportFrom | ast.JoinedStr | ast.arg):
            return True
        if isinstance(node, ast.Expr):
            is_text = isinstance(node.value, ast.Constant)
            return is_text or LOGS.match(ast.unparse(node)) is not None
        return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)

    def _here(self, node: ast.AST) -> Iterator[Change]:
        """Of a node alone."""
        yield from self._operators(node)
        yield from self._values(node)
        yield from self._conditions(node)
        yield from self._statements(node)

    def _operators(self, node: ast.AST) -> Iterator[Change]:
        match node:
            case ast.Compare(left=left, comparators=[right]) | ast.BinOp(left=left, right=right):
                yield from self._operator(left, right)
            case ast.AugAssign(target=target, value=value):
                yield from self._operator(target, value)
            case ast.BoolOp(values=values):
                for left, right in pairwise(values):
                    yield from self._operator(left, right)

    def _values(self, node: ast.AST) -> Iterator[Change]:
        match node:
            case ast.Call(func=ast.Name(id=name) as function) if name in EXTREMES:
                yield Change(self._start(function), self._end(function), EXTREMES[name])
            case ast.Constant(value=bool() as truth):
                yield Change(self._start(node), self._end(node), str(not truth))
            case ast.Constant(value=int() | float() as number):
                yield Change(self._start(node), self._end(node), repr(number + 1))

    def _conditions(self, node: ast.AST) -> Iterator[Change]:
        match node:
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                yield Change(self._start(node), self._start(operand), "")
            case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
                start, end = self._start(test), self._end(test)
                yield Change(start, end, f"(not ({self._source[start:end]}))")

    def _statements(self, node: ast.AST) -> Iterator[Change]:
        """Statements that can be left out without a name being missed."""
        match node:
            case ast.Expr(value=ast.Call() | ast.Await()) | ast.Raise() | ast.Continue() | ast.Break():
                yield self._left_out(node)
            case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]) | ast.AugAssign():
                yield self._left_out(node)
            case ast.If(body=body):
                yield from (self._left_out(one) for one in body if isinstance(one, ast.Return))

    def _operator(self, left: ast.expr, right: ast.expr) -> Iterator[Change]:
        start = self._end(left)
        found = OPERATOR.search(self._source, start, self._start(right))
        if found is not None:
            other = OPERATORS[re.sub(r"\s+", " ", found.group())]
            yield Change(found.start(), found.end(), other)

    def _left_out(self, node: ast.AST) -> Change:
        return Change(self._start(node), self._end(node), "pass")

    def _start(self, node: ast.AST) -> int:
        return self._offset(node.lineno, node.col_offset)  # type: ignore[attr-defined]

    def _end(self, node: ast.AST) -> int:
        return self._offset(node.end_lineno, node.end_col_offset)  # type: ignore[attr-defined]

    def _offset(self, line: int, column: int) -> int:
        return self._starts[line - 1] + len(self._lines[line - 1][:column].decode())
