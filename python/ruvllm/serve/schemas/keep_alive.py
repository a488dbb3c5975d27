"""How long a model is to stay, as Ollama's clients write it: seconds, or a duration as `5m` or `1h30m`."""

import re
from typing import Annotated

from pydantic import Field

from ruvllm.serve.errors import ApiError
from ruvllm.serve.schemas.base import Finite

__all__ = ["KeepAlive", "kept_seconds"]

KeepAlive = Annotated[
    Finite | Annotated[str, Field(pattern=r"^-?[0-9.]+[a-zµ0-9.]*$", max_length=64)],
    Field(
        description="How long the model stays loaded after its last use, where an admin key says so; of "
        "others it is taken, and changes nothing."
    ),
]

_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = r"(\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h)"
_DURATION = re.compile(rf"-?({_PART})+")
_NUMBER = re.compile(r"-?(\d+\.?\d*|\.\d+)")
# Some hundred years are for ever, and more than a clock can count.
LONGEST_SECONDS = 1e9


def kept_seconds(value: float | str) -> float | None:
    """The seconds; `None` is for ever, which negative ones are. 400 for what is no duration.

    >>> kept_seconds("1h30m"), kept_seconds(0), kept_seconds("-1m"), kept_seconds("90")
    (5400.0, 0.0, None, 90.0)
    """
    if isinstance(value, str):
        if _NUMBER.fullmatch(value):
            value = float(value)
        elif _DURATION.fullmatch(value):
            parts = re.findall(_PART, value)
            seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
            value = -seconds if value.startswith("-") else seconds
        else:
            message = f"keep_alive is {value!r}; it must be seconds, or a duration such as 5m or 1h30m"
            raise ApiError(400, message, code="invalid_value", param="keep_alive")
    return None if value < 0 or value > LONGEST_SECONDS else float(value)
