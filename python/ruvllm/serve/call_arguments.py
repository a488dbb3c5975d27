"""The arguments of calls; a tool that takes a text (`custom`) is to the model a function of one field."""

import json

from ruvllm.text.response import object_in

__all__ = ["custom_arguments", "custom_input"]

FIELD = "input"


def custom_arguments(text: str) -> str:
    """The arguments of the function for a text."""
    return json.dumps({FIELD: text}, ensure_ascii=False)


def custom_input(arguments: str) -> str:
    r"""The text in a function's arguments; where the model wrote others, what it wrote.

    >>> custom_input(custom_arguments("a\nb"))
    'a\nb'
    """
    values = object_in(arguments)
    text = values.get(FIELD) if values is not None else None
    return text if isinstance(text, str) else arguments
