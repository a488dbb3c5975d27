"""Chat templates: a model's own or a built-in one, run by minijinja.

A template is a program out of a file that anyone may have written. It gets values, never Python objects, no
loader and no files, and its steps, nesting, length and result are bounded. Not bounded is the memory that a
template takes before its steps run out: one that doubles a text again and again can exhaust the process.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ruvllm.errors import TokenizationError
from ruvllm.text import builtin_templates
from ruvllm.text.messages import MessageLike, check_messages

if TYPE_CHECKING:
    from minijinja import Environment

__all__ = ["ChatTemplate", "TemplateLimits", "choose_template"]

_GENERATION_TAG = re.compile(r"\{%([-+]?)\s*(end)?generation\s*([-+]?)%\}")
_DATE_FORMAT = re.compile(r"(?:[^%]|%-?[A-Za-z%]){0,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateLimits:
    """What a template may take. minijinja itself bounds its nesting and recursion.

    Attributes:
        template_characters: Its own length.
        output_characters: The length of what it makes.
        fuel: Steps for a conversation, and so many more `fuel_per_message`.
        fuel_per_message: See above.
    """

    template_characters: int = 256 * 1024
    output_characters: int = 4 * 1024 * 1024
    fuel: int = 200_000
    fuel_per_message: int = 5_000


class _RaisedByTemplate(Exception):  # noqa: N818 - it never leaves this module
    pass


class ChatTemplate:
    r"""Turns messages into the text that a model was trained on.

    >>> template = ChatTemplate.builtin("chatml")
    >>> template.render([{"role": "user", "content": "Hi"}])
    '<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n'
    """

    def __init__(
        self,
        source: str,
        *,
        bos_token: str = "",
        eos_token: str = "",
        name: str = "chat_template",
        limits: TemplateLimits | None = None,
    ) -> None:
        self._limits = limits or TemplateLimits()
        if len(source) > self._limits.template_characters:
            raise TokenizationError(
                f"the chat template {name} has {len(source)} characters; "
                f"at most {self._limits.template_characters} are allowed"
            )
        self.source = source
        self.name = name
        self._bos_token = bos_token
        self._eos_token = eos_token
        # Only training needs these tags around the assistant's part; a condition keeps their white space.
        self._program = _GENERATION_TAG.sub(_as_condition, source)

    @classmethod
    def builtin(cls, form: str, *, bos_token: str = "", eos_token: str = "") -> "ChatTemplate":
        """A built-in template: chatml, llama-2, llama-3, mistral, phi-3 or gemma."""
        if form not in builtin_templates.BUILTIN_TEMPLATES:
            known = ", ".join(builtin_templates.BUILTIN_TEMPLATES)
            raise TokenizationError(f"there is no built-in chat template {form!r}; there are {known}")
        source = builtin_templates.BUILTIN_TEMPLATES[form]
        return cls(source, bos_token=bos_token, eos_token=eos_token, name=f"built-in {form}")

    def render(
        self,
        messages: str | Sequence[MessageLike],
        *,
        add_generation_prompt: bool = True,
        variables: Mapping[str, Any] | None = None,
    ) -> str:
        """Give the text for `messages`; `variables` are handed to the template as they are.

        Raises `TokenizationError` with the template's own words where it refuses the messages.
        """
        checked = check_messages(messages)
        context: dict[str, Any] = {
            "messages": checked,
            "add_generation_prompt": add_generation_prompt,
            "bos_token": self._bos_token,
            "eos_token": self._eos_token,
            "tools": None,
            "documents": None,
            **(variables or {}),
        }
        text = self._run(len(checked), context)
        if len(text) > self._limits.output_characters:
            raise self._error(
                f"made {len(text)} characters; at most {self._limits.output_characters} are allowed"
            )
        return text

    def render_open(
        self, messages: str | Sequence[MessageLike], *, variables: Mapping[str, Any] | None = None
    ) -> str:
        """Give the text up to the end of the last message's content, so that a model goes on from there.

        Raises `TokenizationError` where the last message is not the assistant's or its content is not found
        in what the template makes of it.
        """
        checked = check_messages(messages)
        last = checked[-1]
        if last["role"] != "assistant" or not last["content"].strip():
            raise TokenizationError(
                "there is nothing to go on from: the last message must be the assistant's, and not empty"
            )
        text = self.render(checked, add_generation_prompt=False, variables=variables)
        # Templates trim contents; the beginning is cut after its last visible character.
        content = last["content"].strip()
        place = text.rfind(content)
        if place < 0:
            raise self._error("changes the assistant's message, so that an answer cannot go on from it")
        return text[: place + len(content)]

    def _run(self, num_messages: int, context: dict[str, Any]) -> str:
        from minijinja import TemplateError

        environment = _environment(self._limits.fuel + num_messages * self._limits.fuel_per_message)
        try:
            return environment.render_str(self._program, self.name, **context)
        except _RaisedByTemplate as error:
            raise self._error(f"refused the messages: {error}") from None
        except TemplateError as error:
            where = f" in line {error.line}" if error.line else ""
            raise self._error(f"failed{where}: {error.message}") from error
        except (TypeError, ValueError, OverflowError) as error:  # out of the functions below
            raise self._error(f"failed: {error}") from error

    def _error(self, what: str) -> TokenizationError:
        return TokenizationError(f"the chat template {self.name} {what}")


def choose_template(
    source: str | None,
    *,
    has_token: Callable[[str], bool],
    architecture: str = "",
    name: str = "",
    special_tokens: Mapping[str, str] | None = None,
) -> ChatTemplate | None:
    """Take the model's own template, else the built-in one that fits its tokens, architecture or name.

    `special_tokens` holds the texts of `bos_token` and `eos_token`.
    """
    tokens = special_tokens or {}
    bos_token, eos_token = tokens.get("bos_token", ""), tokens.get("eos_token", "")
    if source:
        return ChatTemplate(source, bos_token=bos_token, eos_token=eos_token, name="of the model")
    form = builtin_templates.choose(has_token=has_token, architecture=architecture, name=name)
    return None if form is None else ChatTemplate.builtin(form, bos_token=bos_token, eos_token=eos_token)


def _as_condition(tag: re.Match[str]) -> str:
    left, end, right = tag.groups()
    return f"{{%{left} {'endif' if end else 'if true'} {right}%}}"


def _environment(fuel: int) -> "Environment":
    from minijinja import Environment

    environment = Environment(fuel=fuel, trim_blocks=True, lstrip_blocks=True, debug=False)
    environment.add_global("raise_exception", _raise_exception)
    environment.add_global("strftime_now", _strftime_now)
    environment.add_filter("tojson", _to_json)
    return environment


def _raise_exception(message: object = "") -> None:
    raise _RaisedByTemplate(str(message))


def _strftime_now(date_format: str) -> str:
    if not _DATE_FORMAT.fullmatch(date_format):
        raise ValueError(f"strftime_now got the format {date_format[:80]!r}, which is not allowed")
    return datetime.now().astimezone().strftime(date_format)


def _to_json(
    value: object,
    ensure_ascii: bool = False,  # noqa: FBT001, FBT002 - the signature that templates know
    indent: int | None = None,
    separators: Sequence[str] | None = None,
    sort_keys: bool = False,  # noqa: FBT001, FBT002
) -> str:
    if indent is not None and not 0 <= indent <= 16:
        raise ValueError(f"tojson got the indent {indent}; it must be from 0 to 16")
    pair = (str(separators[0]), str(separators[1])) if separators else None
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=pair, sort_keys=sort_keys)
