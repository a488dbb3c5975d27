"""Nothing of the package needs a Python newer than the oldest that it is for, wherever the tests run.

That its names are there, mypy knows, which checks for that version. It does not know which classes took no
type in brackets yet.
"""

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
