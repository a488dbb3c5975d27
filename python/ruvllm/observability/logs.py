"""Logs for programs: the command line calls this, the library itself never does.

Prompts and answers are not logged at any level.
"""

import json
import logging
import sys
from typing import TYPE_CHECKING, Literal, TextIO

from ruvllm.errors import ConfigError

__all__ = ["LOG_LEVELS", "log_to_stderr"]

LOG_LEVELS = ("debug", "info", "warning", "error", "critical")


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        # What a line is about, by name, where its writer gave it: `extra={"facts": {...}}`.
        entry |= getattr(record, "facts", {})
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


if TYPE_CHECKING:
    _StreamHandler = logging.StreamHandler[TextIO]
else:  # before Python 3.11 it takes no type
    _StreamHandler = logging.StreamHandler


class _StderrHandler(_StreamHandler):
    """Writes to stderr as it is by then: a server puts a queue in its place."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stderr


def log_to_stderr(level: str = "info", *, form: Literal["text", "json"] = "text") -> logging.Handler:
    """Send the package's log to stderr from `level` up, in place of an earlier call's.

    >>> _ = log_to_stderr("warning")
    """
    if level.lower() not in LOG_LEVELS:
        raise ConfigError(f"the log level is {level!r}; it must be one of {', '.join(LOG_LEVELS)}")
    logger = logging.getLogger("ruvllm")
    for handler in list(logger.handlers):
        if isinstance(handler, _StderrHandler):
            logger.removeHandler(handler)
    handler = _StderrHandler()
    text = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler.setFormatter(_JsonFormatter() if form == "json" else text)
    logger.addHandler(handler)
    logger.setLevel(level.upper())
    return handler
