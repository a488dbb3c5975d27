"""The table of docs/backends.md is made of the flags that the tests of the backends ask for.

Run as a program, it writes the table anew.
"""

import re
import runpy
from pathlib import Path

import pytest

from ruvllm.backends.mistralrs.backend import MistralrsBackend
from ruvllm.backends.supports import Supports, explained
from ruvllm.runtime.opening import NativeEngineBackend

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "backends.md"
# Of the checkout, whatever is installed: the file asks for nothing of candle.
CANDLE: Supports = runpy.run_path(str(ROOT / "candle" / "python" / "ruvllm_candle" / "supports.py"))[
    "SUPPORTS"
]
BACKENDS = {
    "native": NativeEngineBackend.supports,
    "mistralrs": MistralrsBackend.supports,
    "candle": CANDLE,
}
ROW = re.compile(r"^\| `\w+` \| .+?(?: \| (?:yes|no))+ \|$", re.M)


def table() -> list[str]:
    return [
        f"| `{flag}` | {meaning} | "
        + " | ".join("yes" if getattr(one, flag) else "no" for one in BACKENDS.values())
        + " |"
        for flag, meaning in explained().items()
    ]


def test_the_table_is_what_the_flags_say() -> None:
    assert ROW.findall(PAGE.read_text(encoding="utf-8")) == table()


def test_the_table_has_a_column_for_each() -> None:
    assert "| flag | what it is | " + " | ".join(f"`{name}`" for name in BACKENDS) + " |\n" in PAGE.read_text(
        encoding="utf-8"
    )


@pytest.mark.parametrize("name", ["mistralrs", "candle"])
def test_the_settings_are_named(name: str) -> None:
    page = PAGE.read_text(encoding="utf-8")
    named = page.partition(f"`{name}` takes ")[2].partition(";")[0]
    assert set(re.findall(r"`(\w+)`", named)) == BACKENDS[name].settings


if __name__ == "__main__":
    head, *rest = ROW.split(PAGE.read_text(encoding="utf-8"))
    PAGE.write_text(head + "\n".join(table()) + rest[-1], encoding="utf-8")
