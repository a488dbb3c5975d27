"""The table of docs/backends.md is made of the flags that the tests of the backends ask for.

Run as a program, it writes the table anew.
"""

import re
from pathlib import Path

from ruvllm.backends.mistralrs.backend import MistralrsBackend
from ruvllm.backends.supports import explained
from ruvllm.runtime.opening import NativeEngineBackend

PAGE = Path(__file__).resolve().parents[2] / "docs" / "backends.md"
BACKENDS = (NativeEngineBackend, MistralrsBackend)
ROW = re.compile(r"^\| `\w+` \| .+ \| (?:yes|no) \| (?:yes|no) \|$", re.M)


def table() -> list[str]:
    return [
        f"| `{flag}` | {meaning} | "
        + " | ".join("yes" if getattr(one.supports, flag) else "no" for one in BACKENDS)
        + " |"
        for flag, meaning in explained().items()
    ]


def test_the_table_is_what_the_flags_say() -> None:
    assert ROW.findall(PAGE.read_text(encoding="utf-8")) == table()


def test_the_settings_are_named() -> None:
    page = PAGE.read_text(encoding="utf-8")
    named = page.partition("`mistralrs` takes ")[2].partition(", and refuses")[0]
    assert set(re.findall(r"`(\w+)`", named)) == MistralrsBackend.supports.settings


if __name__ == "__main__":
    head, *rest = ROW.split(PAGE.read_text(encoding="utf-8"))
    PAGE.write_text(head + "\n".join(table()) + rest[-1], encoding="utf-8")
