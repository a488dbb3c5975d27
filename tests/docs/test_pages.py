"""The pages name what there is: every command, every make target, every short name of a model."""

import re
from pathlib import Path

from ruvllm import hub
from ruvllm.cli.main import app

ROOT = Path(__file__).resolve().parents[2]


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_every_command_stands_in_its_page() -> None:
    commands = {one.name for one in [*app.registered_commands, *app.registered_groups]}
    assert commands == set(re.findall(r"^\| `ruvllm ([\w-]+)", page("docs/cli.md"), re.M))


def test_every_short_name_stands_in_its_page() -> None:
    for name in hub.DEFAULT_REGISTRY.names():
        assert f"| `{name}` |" in page("docs/models.md")


def test_make_help_lists_every_target_that_the_pages_name() -> None:
    targets = set(re.findall(r"^([a-z-]+):.*## ", page("Makefile"), re.M))
    for name in ("README.md", "CONTRIBUTING.md", "docs/security.md"):
        assert set(re.findall(r"\bmake ([a-z-]+)", page(name))) <= targets | {"is"}, name
