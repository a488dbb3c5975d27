"""Nothing of the package needs a Python newer than the oldest that it is for, wherever the tests run.

That its names are there, mypy knows, which checks for that version. It does not know which classes took no
type in brackets yet.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# What Python 3.10 cannot do: `StreamHandler[TextIO]` is an error there when a module is imported.
WITHOUT_BRACKETS = """
import array, importlib, logging, pkgutil

class Plain(type):
    def __getitem__(cls, item):
        raise TypeError(f"{cls.__name__}[...] is not there before Python 3.11")

def plain(cls):
    return Plain(cls.__name__, (cls,), {"__class_getitem__": None})

logging.StreamHandler = plain(logging.StreamHandler)
logging.LoggerAdapter = plain(logging.LoggerAdapter)
try:
    logging.StreamHandler[str]
except TypeError:
    pass
else:
    raise SystemExit("brackets are taken, so this shows nothing")

import ruvllm
names = [one.name for one in pkgutil.walk_packages(ruvllm.__path__, "ruvllm.") if "__main__" not in one.name]
for name in names:
    importlib.import_module(name)
print(len(names))
"""


def test_the_oldest_python_is_the_one_that_types_are_checked_for() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    [promised] = re.findall(r'^requires-python = ">=([\d.]+)"', text, re.M)
    [checked] = re.findall(r'^python_version = "([\d.]+)"', text, re.M)
    [linted] = re.findall(r'^target-version = "py(\d)(\d+)"', text, re.M)
    assert promised == checked == ".".join(linted) == "3.10"


def test_every_module_is_imported_where_classes_take_no_types() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_BRACKETS], capture_output=True, text=True, timeout=55, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 300


# A parameter whose default is None was wrapped in `Optional` there, and hid what `Annotated` says of it.
HIDDEN_BY_NONE = """
import inspect, types, typing

newer = typing.get_type_hints

def older(of, *arguments, **keywords):
    hints = newer(of, *arguments, **keywords)
    if isinstance(of, types.FunctionType):
        for name, parameter in inspect.signature(of).parameters.items():
            if parameter.default is None and name in hints:
                hints[name] = typing.Optional[hints[name]]
    return hints

typing.get_type_hints = older

import json, typer.main
from ruvllm.cli.app import whole_app

commands = typer.main.get_command(whole_app()).commands
print(json.dumps({
    name: [one.name for one in command.params if one.param_type_name == "argument"]
    for name, command in commands.items()
}))
"""


def test_commands_have_their_arguments_where_none_hides_what_is_annotated() -> None:
    done = subprocess.run(
        [sys.executable, "-c", HIDDEN_BY_NONE], capture_output=True, text=True, timeout=55, check=False
    )
    assert done.returncode == 0, done.stderr
    arguments = json.loads(done.stdout)
    assert {name: arguments[name] for name in ("serve", "prepare", "pull", "run")} == {
        "serve": ["models"],
        "prepare": ["models"],
        "pull": ["models"],
        "run": ["model", "words"],
    }
