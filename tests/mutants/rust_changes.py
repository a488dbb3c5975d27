"""The mechanical changes that can be made in a Rust file, by its text as rustfmt lays it out.

The same kinds as in Python: `python_changes.py`. What the compiler refuses (a `+` between two bounds is no
sum) is sorted out by building it. Left alone are comments, texts, attributes, the file's own tests, and what
runs only where debugging is asked for.
"""

import re
from collections.abc import Iterator

from tests.architecture.sources import TEST_MODULE, strip_comments_and_strings
from tests.mutants.changes import ARITHMETIC, COMPARISONS, EXTREMES, Change

__all__ = ["rust_changes"]

OPERATORS = {**COMPARISONS, **ARITHMETIC, "&&": "||", "||": "&&"}
OPERATOR = re.compile(r"(?<= )(<=|>=|==|!=|<<|>>|&&|\|\||[-+*/%<>])(?= )")
COMPOUND = re.compile(r"(?<= )([-+*/])=(?= )")
EXTREME = re.compile(r"(?<=\.)(min|max)(?=\()")
NUMBER = re.compile(r"(?<![\w.])(\d[\d_]*)(\.\d+)?(?![\w.])")
TRUTH = re.compile(r"\b(true|false)\b")
NOT = re.compile(r"(?<=[ (])!(?=[a-z(])")
CONDITION = re.compile(r"\b(?:if|while) (?!let\b)([^{};]*?) \{")
# A whole statement on its line that binds nothing, after the end of another or the beginning of a block.
STATEMENT = re.compile(
    r"(?<=[;{}])\s*\n *"
    r"((?!let |use |pub |const |static |type |mod |fn |debug_assert)[a-z_*][^;{}\n]*;)(?=\n)"
)
LEFT_ALONE = re.compile(r"#!?\[[^\n]*\]|\bdebug_assert\w*!\((?:[^;]|\n)*?\);|^use [^;]*;", re.M)


def rust_changes(source: str) -> list[Change]:
    """All of them, in order."""
    code = strip_comments_and_strings(source)
    for pattern in (TEST_MODULE, LEFT_ALONE):
        code = pattern.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), code)
    return sorted(set(_changes(code)))


def _changes(code: str) -> Iterator[Change]:
    for found in OPERATOR.finditer(code):
        yield Change(found.start(1), found.end(1), OPERATORS[found[1]])
    for found in COMPOUND.finditer(code):
        yield Change(found.start(1), found.end(1), ARITHMETIC[found[1]])
    for found in EXTREME.finditer(code):
        yield Change(found.start(1), found.end(1), EXTREMES[found[1]])
    for found in NUMBER.finditer(code):
        yield Change(found.start(1), found.end(1), str(int(found[1].replace("_", "")) + 1))
    for found in TRUTH.finditer(code):
        yield Change(found.start(1), found.end(1), "false" if found[1] == "true" else "true")
    for found in NOT.finditer(code):
        yield Change(found.start(), found.end(), "")
    for found in CONDITION.finditer(code):
        if "let " not in found[1]:
            yield Change(found.start(1), found.end(1), f"!({found[1]})")
    for found in STATEMENT.finditer(code):
        yield Change(found.start(1), found.end(1), "")
