"""The second wheel: a workspace of its own, of one version, under the same rules, no part of the first."""

import re
from typing import Any

from tests.architecture import sources
from tests.architecture.test_size import FILE_LINES
from tests.architecture.test_unsafe import unsafe_uses

try:
    import tomllib
except ModuleNotFoundError:  # before Python 3.11; pytest brings it there
    import tomli as tomllib

CANDLE = sources.ROOT / "candle"


def read(*parts: str) -> dict[str, Any]:
    content: dict[str, Any] = tomllib.loads(sources.ROOT.joinpath(*parts).read_text(encoding="utf-8"))
    return content


def test_it_is_made_for_the_package_of_its_own_version() -> None:
    version = read("Cargo.toml")["workspace"]["package"]["version"]
    assert read("candle", "Cargo.toml")["package"]["version"] == version
    assert read("candle", "pyproject.toml")["project"]["dependencies"] == [f"ruvllm=={version}"]


def test_the_main_workspace_knows_nothing_of_it() -> None:
    assert "candle" in read("Cargo.toml")["workspace"]["exclude"]
    lock = (sources.ROOT / "Cargo.lock").read_text(encoding="utf-8")
    assert not re.search(r'^name = "candle', lock, re.M)


def test_its_code_keeps_the_rules() -> None:
    assert read("candle", "Cargo.toml")["lints"]["rust"]["unsafe_code"] == "deny"
    for path in sorted([*(CANDLE / "src").rglob("*.rs"), *(CANDLE / "python").rglob("*.py")]):
        assert sources.code_lines(path) <= FILE_LINES, path
        if path.suffix == ".rs":
            assert not list(unsafe_uses(path)), path


def test_what_it_shares_with_the_other_extension_is_there() -> None:
    """By path, so that there is one table of errors and one reading of parameters."""
    library = (CANDLE / "src" / "lib.rs").read_text(encoding="utf-8")
    shared = re.findall(r'#\[path = "(.+)"\]', library)
    assert len(shared) > 3
    for path in shared:
        assert (CANDLE / "src" / path).is_file(), path


def test_it_has_the_same_licences() -> None:
    for name in read("candle", "pyproject.toml")["project"]["license-files"]:
        assert (CANDLE / name).read_bytes() == (sources.ROOT / name).read_bytes()
