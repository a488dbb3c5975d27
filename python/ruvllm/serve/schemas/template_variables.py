"""What a request tells the model's template beside its messages, as vLLM's `chat_template_kwargs`."""

from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias

from pydantic import Field

from ruvllm.serve.errors import ApiError
from ruvllm.serve.schemas.base import Entries
from ruvllm.serve.schemas.refusals import REFUSED_IN_TEMPLATES, is_harmless

__all__ = ["TemplateVariables", "variables_of"]

MAX_VARIABLES = 64
# Of all of them together: characters of names and texts, and so many for each value, since a template may go
# through them again and again.
MAX_SIZE = 16_384
VALUE_SIZE = 8

# What a template has of the conversation, of the model or of the server alone; and what no body may say.
_OTHERS = {
    **REFUSED_IN_TEMPLATES,
    "messages": "give messages",
    "tools": "give tools",
    "tokenize": "the prompt always becomes tokens",
    "bos_token": "it is the model's",
    "eos_token": "it is the model's",
    "raise_exception": "it is the server's",
    "strftime_now": "it is the server's",
    **dict.fromkeys(("range", "namespace", "dict"), "it is a function of templates"),
}

TemplateVariables: TypeAlias = Annotated[
    dict[str, Any],
    Entries(MAX_VARIABLES),
    Field(description="Variables for the model's chat template, such as enable_thinking."),
]


def variables_of(given: Mapping[str, Any] | None) -> dict[str, Any]:
    """The variables; 400 for one that is another's to say, and for more than a template should go through.

    >>> variables_of({"enable_thinking": False, "documents": []})
    {'enable_thinking': False}
    """
    found = {}
    for name, value in (given or {}).items():
        if name not in _OTHERS:
            found[name] = value
        elif not is_harmless(name, value):
            message = f"chat_template_kwargs has {name}, which a template is not told so: {_OTHERS[name]}"
            raise ApiError(400, message, code="invalid_value", param=f"chat_template_kwargs.{name}")
    if _is_too_large(found):
        message = (
            f"chat_template_kwargs is larger than {MAX_SIZE}, of characters and {VALUE_SIZE} for each value; "
            "what is long belongs into messages"
        )
        raise ApiError(400, message, code="invalid_value", param="chat_template_kwargs")
    return found


def _is_too_large(value: Any) -> bool:
    """Looks no further than to the bound, however large it is."""
    size, waiting = 0, [value]
    while waiting and size <= MAX_SIZE:
        one = waiting.pop()
        size += VALUE_SIZE
        if isinstance(one, str):
            size += len(one)
        elif isinstance(one, int):
            size += one.bit_length() // 3  # its digits
        if isinstance(one, dict | list):
            if len(one) * VALUE_SIZE > MAX_SIZE:
                return True
            waiting += one
            waiting += one.values() if isinstance(one, dict) else ()
    return size > MAX_SIZE
