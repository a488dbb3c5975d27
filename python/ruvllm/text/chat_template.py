"""Chat templates: a model's own or a built-in one, run by minijinja.

A template is a program out of a file that anyone may have written. It gets values, never Python objects, no
loader and no files, and its steps, nesting, length and result are bounded. Not bounded is the memory that a
template takes before its steps run out: one that doubles a text again and again can exhaust the process.
"""

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ruvllm.errors import TokenizationError
from ruvllm.text import builtin_templates
from ruvllm.text.characters import of_whole_characters
from ruvllm.text.marks import Rendered, SignedTemplate, TemplateMarks, Veil, texts_in
from ruvllm.text.messages import Message, MessageLike, check_messages

if TYPE_CHECKING:
    from minijinja import Environment

__all__ = ["ChatTemplate", "TemplateLimits", "check_variables", "choose_template"]

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
        marks: Collection[str] = (),
        limits: TemplateLimits | None = None,
    ) -> None:
        """Take a template.

        Args:
            source: Its program.
            bos_token: What it knows by that name.
            eos_token: The same.
            name: What errors call it.
            marks: The texts of tokens that it may write and messages may not; see `rendered`.
            limits: What it may take.
        """
        self._limits = limits or TemplateLimits()
        if len(source) > self._limits.template_characters:
            raise TokenizationError(
                f"the chat template {name} has {len(source)} characters; "
                f"at most {self._limits.template_characters} are allowed"
            )
        self.source = source
        self.name = name
        self._values = {"bos_token": bos_token, "eos_token": eos_token}
        # Only training needs these tags around the assistant's part; a condition keeps their white space.
        self._program = _GENERATION_TAG.sub(_as_condition, source)
        self._marks = TemplateMarks(self._program, marks, self._values)

    @classmethod
    def builtin(
        cls, form: str, *, bos_token: str = "", eos_token: str = "", marks: Collection[str] = ()
    ) -> "ChatTemplate":
        """A built-in template: chatml, llama-2, llama-3, mistral, phi-3 or gemma."""
        if form not in builtin_templates.BUILTIN_TEMPLATES:
            known = ", ".join(builtin_templates.BUILTIN_TEMPLATES)
            raise TokenizationError(f"there is no built-in chat template {form!r}; there are {known}")
        source = builtin_templates.BUILTIN_TEMPLATES[form]
        return cls(source, bos_token=bos_token, eos_token=eos_token, name=f"built-in {form}", marks=marks)

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
        context = self._context(checked, variables, add_generation_prompt=add_generation_prompt)
        return self._run(self._program, self._values, context)

    def render_open(
        self, messages: str | Sequence[MessageLike], *, variables: Mapping[str, Any] | None = None
    ) -> str:
        """Give the text up to the end of the last message's content, so that a model goes on from there.

        Raises `TokenizationError` where the last message is not the assistant's or its content is not found
        in what the template makes of it.
        """
        checked = check_messages(messages)
        content = _beginning_of_answer(checked)
        text = self.render(checked, add_generation_prompt=False, variables=variables)
        return text[: self._end_of(content, text)]

    def rendered(
        self,
        messages: str | Sequence[MessageLike],
        *,
        add_generation_prompt: bool = True,
        continue_last: bool = False,
        variables: Mapping[str, Any] | None = None,
    ) -> Rendered:
        """Give the same text with its marks told apart: those that the template writes, and no others.

        `continue_last` gives it up to the end of the last message, as `render_open` does.
        """
        checked = check_messages(messages)
        content = _beginning_of_answer(checked) if continue_last else None
        begins_answer = add_generation_prompt and not continue_last
        context = self._context(checked, variables, add_generation_prompt=begins_answer)
        signed = self._marks.sign(texts_in([checked, variables or {}]))
        rendered = signed.rendered(self._run(signed.program, signed.values, context, signed))
        if self._marks.composes:
            rendered = self._with_composed(rendered, signed, context)
        return rendered if content is None else rendered.upto(self._end_of(content, rendered.signed))

    def _with_composed(
        self, rendered: Rendered, signed: SignedTemplate, context: Mapping[str, Any]
    ) -> Rendered:
        """Sign the marks that the template has put together, and none that messages spell.

        What else spells a mark is the template's where it comes out as well when messages are veiled. A
        template that reads them makes another text then: of such a one only those are veiled that could be
        part of a mark, and where other marks come out, the veiled text is the one that counts.
        """
        if not (found := list(self._marks.finder.find(rendered.signed))):
            return rendered
        veil = Veil(self._marks.finder.marks, signed.unused())
        as_veiled = rendered
        for wanted in (lambda text: True, veil.may_be_of_a_mark):
            try:
                veiled = self._run(signed.program, signed.values, _veiled(context, veil, wanted), signed)
            except TokenizationError:  # it wants to read what messages say
                continue
            if not (composed := list(self._marks.finder.find(veiled))):
                return rendered
            lifted = signed.rendered(veil.lift(veiled))
            if lifted.signed == rendered.signed:
                return signed.with_more(rendered, composed)
            as_veiled = signed.with_more(lifted, composed)
        as_it_is = signed.with_more(rendered, found)
        return as_it_is if as_it_is.pieces()[1::2] == as_veiled.pieces()[1::2] else as_veiled

    def _context(
        self,
        messages: Sequence[Message],
        variables: Mapping[str, Any] | None,
        *,
        add_generation_prompt: bool,
    ) -> dict[str, Any]:
        for index, message in enumerate(messages):
            _check_characters(f"messages[{index}]", message)
        for name, value in check_variables(variables).items():
            _check_characters(f"variables[{name!a}]", [name, value])
        return {
            "add_generation_prompt": add_generation_prompt,
            "tools": None,
            "documents": None,
            **(variables or {}),
            "messages": messages,
        }

    def _end_of(self, content: str, text: str) -> int:
        """Where the last message's content ends in the text."""
        place = text.rfind(content)
        if place < 0:
            raise self._error("changes the assistant's message, so that an answer cannot go on from it")
        return place + len(content)

    def _run(
        self,
        program: str,
        values: Mapping[str, str],
        context: Mapping[str, Any],
        signed: SignedTemplate | None = None,
    ) -> str:
        from minijinja import TemplateError

        fuel = self._limits.fuel + len(context["messages"]) * self._limits.fuel_per_message
        words = signed.words if signed else str
        try:
            text = _environment(fuel).render_str(program, self.name, **{**values, **context})
        except _RaisedByTemplate as error:
            raise self._error(f"refused the messages: {words(error)}") from None
        except TemplateError as error:
            where = f" in line {error.line}" if error.line else ""
            raise self._error(f"failed{where}: {words(error.message)}") from error
        except (TypeError, ValueError, OverflowError) as error:  # out of the functions below
            raise self._error(f"failed: {words(error)}") from error
        if len(text) > self._limits.output_characters:
            raise self._error(
                f"made {len(text)} characters; at most {self._limits.output_characters} are allowed"
            )
        return text

    def _error(self, what: str) -> TokenizationError:
        return TokenizationError(f"the chat template {self.name} {what}")


def choose_template(
    source: str | None,
    *,
    has_token: Callable[[str], bool],
    architecture: str = "",
    name: str = "",
    special_tokens: Mapping[str, str] | None = None,
    marks: Collection[str] = (),
) -> ChatTemplate | None:
    """Take the model's own template, else the built-in one that fits its tokens, architecture or name.

    `special_tokens` holds the texts of `bos_token` and `eos_token`, `marks` those that messages cannot make.
    """
    tokens = special_tokens or {}
    bos_token, eos_token = tokens.get("bos_token", ""), tokens.get("eos_token", "")
    if source:
        return ChatTemplate(
            source, bos_token=bos_token, eos_token=eos_token, name="of the model", marks=marks
        )
    form = builtin_templates.choose(has_token=has_token, architecture=architecture, name=name)
    if form is None:
        return None
    return ChatTemplate.builtin(form, bos_token=bos_token, eos_token=eos_token, marks=marks)


def check_variables(variables: object) -> Mapping[str, Any]:
    """What a call tells a template, none for `None`; `TokenizationError` for what is none."""
    if variables is None:
        return {}
    if not isinstance(variables, Mapping):
        kind = type(variables).__name__
        raise TokenizationError(f"variables is a {kind}; it must be a dict of values for the template")
    if "messages" in variables:
        raise TokenizationError("variables has messages, which a template gets of the conversation alone")
    return variables


def _check_characters(where: str, value: object) -> None:
    """The template's engine would write something else for half of a character, and nobody would see it."""
    for text in texts_in(value):
        with of_whole_characters(where):
            text.encode()


def _beginning_of_answer(messages: Sequence[Message]) -> str:
    """The last message's content, from which an answer goes on."""
    last = messages[-1]
    # Templates trim contents; the beginning is cut after its last visible character.
    content = str(last["content"]).strip()
    if last["role"] != "assistant" or not content:
        raise TokenizationError(
            "there is nothing to go on from: the last message must be the assistant's, and not empty"
        )
    return content


def _veiled(context: Mapping[str, Any], veil: Veil, wanted: Callable[[str], bool]) -> dict[str, Any]:
    """What a template gets, veiled: of the messages' contents those that are wanted so, and all else.

    Roles are checked, and templates ask for them.
    """
    veiled: dict[str, Any] = veil.over(context)
    for message, original in zip(veiled["messages"], context["messages"], strict=True):
        message["role"] = original["role"]
        if not wanted(original["content"]):
            message["content"] = original["content"]
    return veiled


def _as_condition(tag: re.Match[str]) -> str:
    left, end, right = tag.groups()
    return f"{{%{left} {'endif' if end else 'if true'} {right}%}}"


def _environment(fuel: int) -> "Environment":
    from minijinja import Environment

    environment = Environment(fuel=fuel, trim_blocks=True, lstrip_blocks=True, debug=False)
    environment.add_global("raise_exception", _raise_exception)
    environment.add_global("strftime_now", _strftime_now)
    environment.add_filter("tojson", _to_json)
    # To minijinja nothing is iterable, too; templates ask so whether they have tools.
    environment.add_test("iterable", lambda value: isinstance(value, Iterable))
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
