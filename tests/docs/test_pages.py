"""The pages name what there is: every command, every make target, every short name of a model."""

import re
import shlex
from pathlib import Path

import pytest
import typer.main

from ruvllm import errors, hub
from ruvllm.cli.app import whole_app
from ruvllm.llm import LLM
from ruvllm.observability.sizes import size

ROOT = Path(__file__).resolve().parents[2]


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_every_command_stands_in_its_page() -> None:
    commands = {one.name for one in [*whole_app().registered_commands, *whole_app().registered_groups]}
    assert commands == set(re.findall(r"^\| `ruvllm ([\w-]+)", page("docs/cli.md"), re.M))


def test_every_variable_is_named_as_the_page_says() -> None:
    """`RUVLLM_` and the flag's name; where the command's stands before it, the page has it by name."""
    others = set()
    commands = dict(typer.main.get_command(whole_app()).commands)  # type: ignore[attr-defined]
    for name, command in list(commands.items()):
        commands |= {f"{name} {part}": inner for part, inner in getattr(command, "commands", {}).items()}
    for name, command in commands.items():
        for flag in command.params:
            if not flag.opts[0].startswith("--") or flag.name == "help":
                continue
            own = flag.opts[0].removeprefix("--").replace("-", "_").upper()
            if flag.envvar != f"RUVLLM_{own}":
                assert flag.envvar == f"RUVLLM_{name.split()[0].upper()}_{own}", (name, flag.opts)
                others.add(flag.envvar)
    rules = page("docs/cli.md").partition("## Rules")[2]
    assert set(re.findall(r"`(RUVLLM_\w+)`", rules)) == others


def test_every_method_of_a_model_stands_in_its_page() -> None:
    rows = re.findall(r"^\| (`.+?) \| ", page("docs/python.md").partition("| method | gives |")[2], re.M)
    table = " ".join(rows)
    named = set(re.findall(r"`(\w+)", table))
    assert {name for name in dir(LLM) if not name.startswith("_")} <= named


def test_the_errors_without_a_built_in_one_stand_in_their_page() -> None:
    section = page("docs/python.md").partition("## Errors")[2].partition("\n## ")[0]
    lonely = {
        name
        for name in errors.__all__
        if name != "RuvLLMError" and all(one.__module__ != "builtins" for one in parents(name))
    }
    sentence = section.partition("No built-in one fits")[2].partition(". ")[0]
    assert set(re.findall(r"`(\w+)`", sentence)) == lonely


def parents(name: str) -> list[type]:
    """Of an error class, but for those that every one has."""
    return [one for one in getattr(errors, name).__mro__ if one not in (Exception, BaseException, object)]


def test_the_rows_of_short_names_say_what_the_table_says() -> None:
    rows = page("docs/models.md").splitlines()
    for entry in hub.DEFAULT_REGISTRY:
        if isinstance(entry, hub.HubEntry):
            names = ", ".join(f"`{name}`" for name in (entry.name, *entry.aliases))
            sizes = f"{size(entry.size_bytes)} | {size(hub.needed_bytes(entry))}"
            licence = f"[{entry.licence}]({entry.licence_url})"
            assert f"| {names} | `{entry.repo_id}:{entry.quantization}` | {sizes} | {licence} |" in rows


def test_every_short_name_stands_in_its_page() -> None:
    for name in hub.DEFAULT_REGISTRY.names():
        assert f"\n| `{name}`" in page("docs/models.md")


def test_make_help_lists_every_target_that_the_pages_name() -> None:
    targets = set(re.findall(r"^([a-z-]+):.*## ", page("Makefile"), re.M))
    for name in ("README.md", "CONTRIBUTING.md", "docs/security.md"):
        assert set(re.findall(r"\bmake ([a-z-]+)", page(name))) <= targets | {"is"}, name


# What the commands of these pages read.
WRITTEN_BY_READERS = (
    "keys.txt",
    "text.txt",
    "matters.txt",
    "answers.jsonl",
    "imatrix.gguf",
    "questions.jsonl",
)
PAGES = [*sorted((ROOT / "docs" / "tutorials").glob("*.md")), ROOT / "docs" / "lm-eval.md"]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_the_commands_of_first_steps_are_understood(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command line takes each, as it stands there; nothing is carried out."""
    for name in WRITTEN_BY_READERS:
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    text = path.read_text(encoding="utf-8")
    lines = re.findall(r"^    ruvllm (.+)$", text, re.M) + re.findall(r"`ruvllm ([^`]+ [^`]+)`", text)
    # The page on structured output has none.
    assert lines or path.stem == "structured-output"
    for line in lines:
        name, *arguments = shlex.split(line, comments=True)
        typer.main.get_command(whole_app()).commands[name].make_context(name, arguments)  # type: ignore[attr-defined]
