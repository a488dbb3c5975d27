"""A pytest plugin that takes from the tests' modules what Windows does not have, while they are imported.

`python -m pytest -p tests.support.without_unix --collect-only` shows on any system what would keep a release
from being tested there. The system's own modules and those of other packages look at `sys.platform`, which
stays what it is, and keep what they need.
"""

import builtins
import importlib
import os
import signal
import sys
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1]
MODULES = {"curses", "fcntl", "grp", "pty", "pwd", "readline", "resource", "syslog", "termios", "tty"}
# Packages that pyproject.toml asks for elsewhere alone, and what they bring.
PACKAGES = ("pexpect", "ptyprocess", "uvloop")
SIGNALS = ("SIGALRM", "SIGCHLD", "SIGHUP", "SIGKILL", "SIGPIPE", "SIGQUIT", "SIGSTOP", "SIGUSR1", "SIGXFSZ")
FUNCTIONS = ("fork", "geteuid", "getuid", "killpg", "mkfifo", "sched_setaffinity", "setsid", "sysconf")

_import, _import_module = builtins.__import__, importlib.import_module


def _import_as_on_windows(
    name: str, globals: dict[str, Any] | None = None, *arguments: Any, **keywords: Any
) -> Any:
    if Path((globals or {}).get("__file__") or "/").is_relative_to(TESTS):
        _check_there(name)
    return _import(name, globals, *arguments, **keywords)


def _import_module_as_on_windows(name: str, package: str | None = None) -> Any:
    """What `pytest.importorskip` asks; nobody else asks it for these modules."""
    _check_there(name)
    return _import_module(name, package)


def _check_there(name: str) -> None:
    if name.partition(".")[0] in MODULES:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def _without(module: Any, names: tuple[str, ...]) -> None:
    for name in names:
        if hasattr(module, name):
            delattr(module, name)


def pytest_sessionstart() -> None:
    """Before any module of the tests is imported, and after pytest's own plugins are there."""
    sys.modules.update(dict.fromkeys(PACKAGES))
    builtins.__import__ = _import_as_on_windows
    importlib.import_module = _import_module_as_on_windows
    _without(signal, SIGNALS)
    _without(os, FUNCTIONS)
