"""Functions of one's own that have a say in every token."""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from ruvllm.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["LogitsProcessor", "checked_processors", "one_processor"]

logger = logging.getLogger(__name__)

# Arrays of uint32 and of float32: NumPy is not loaded for what makes no text.
LogitsProcessor: TypeAlias = Callable[[Any, Any], Any]
"""Takes the tokens so far and the logits of the next one; gives others, or changes these and gives `None`."""


def checked_processors(given: object) -> tuple[LogitsProcessor, ...]:
    """What `logits_processors` may be: functions, in a list or tuple."""
    if not isinstance(given, list | tuple):
        raise ConfigError(f"logits_processors is {given!r:.80}; it must be a list or tuple of functions")
    for one in given:
        if not callable(one):
            raise ConfigError(
                f"logits_processors has {one!r:.80}; each must be a function of token ids and logits"
            )
    return tuple(given)


def one_processor(processors: tuple[LogitsProcessor, ...]) -> LogitsProcessor | None:
    """All of them as the engine calls them, one behind the other; `None` where there is none.

    >>> import numpy as np
    >>> process = one_processor((lambda tokens, logits: logits + 1, lambda tokens, logits: logits * 2))
    >>> process(np.array([1], dtype=np.uint32), np.array([0.5, 2], dtype=np.float32)).tolist()
    [3.0, 6.0]
    """
    if not processors:
        return None
    import numpy as np

    def process(tokens: "NDArray[np.uint32]", logits: "NDArray[np.float32]") -> "NDArray[np.float32]":
        tokens.flags.writeable = False
        for one in processors:
            try:
                changed = one(tokens, logits)
                logits = logits if changed is None else _as_logits(changed, len(logits))
            except Exception:
                # Of an error only its words come out of the engine.
                logger.exception("the logits processor %r failed", one)
                raise
        return np.ascontiguousarray(logits)

    return process


def _as_logits(changed: object, count: int) -> "NDArray[np.float32]":
    import numpy as np

    logits = np.asarray(changed, dtype=np.float32)
    if logits.shape != (count,):
        raise ValueError(f"it gave an array of shape {logits.shape}; there are {count} logits")
    return logits
