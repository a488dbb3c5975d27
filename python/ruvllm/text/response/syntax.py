"""How families write calls: data that the parser, the grammar and the writer all read.

White space at the ends of the texts is what the family's template writes; the parser does without.
"""

from dataclasses import dataclass
from typing import TypeAlias

__all__ = ["CallSyntax", "ChannelCalls", "JsonCalls", "NamedCalls", "Reasons", "TaggedCalls"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reasons:
    """What stands around that which a model thinks.

    Attributes:
        opening: Its beginning.
        closing: Its end.
        variable: What the template calls the choice to think, where it has one.
        only_first: Whether only what an answer begins with is meant: then the marks are text behind that.
    """

    opening: str = "<think>"
    closing: str = "</think>"
    variable: str | None = None
    only_first: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonCalls:
    r"""Calls as JSON objects: `<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>`.

    Attributes:
        section: What stands before all of a message's calls, and after them.
        opening: What stands before each.
        closing: What stands after each.
        separator: What stands between two.
        as_list: Whether the objects of a section are one JSON list.
        name_field: Where an object has the tool's name.
        arguments_field: Where it has the arguments.
        bare_opening: What may stand before calls, and need not; without it an object at the beginning of the
            answer that names a tool is a call. `None` where calls always have an opening.
        fenced: The marks of a block of code. With them an object that names a tool is a call with no opening
            at the beginning of an answer, in such a block or bare.
    """

    section: tuple[str, str] = ("", "")
    opening: str = ""
    closing: str = ""
    separator: str = "\n"
    as_list: bool = False
    name_field: str = "name"
    arguments_field: str = "arguments"
    bare_opening: str | None = None
    fenced: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedCalls:
    """Calls as a name and JSON arguments: `[TOOL_CALLS]f[ARGS]{"a": 1}`.

    Attributes:
        section: What stands before all of a message's calls, and after them.
        opening: What stands before each name.
        id_opening: What stands between name and id, in families that write ids.
        name_end: What stands between name and arguments.
        closing: What stands after the arguments.
        separator: What stands between two calls.
    """

    section: tuple[str, str] = ("", "")
    opening: str
    id_opening: str = ""
    name_end: str
    closing: str = ""
    separator: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaggedCalls:
    r"""Calls with a tag for each argument, texts as they are: `<parameter=a>\n1\n</parameter>`.

    Attributes:
        section: What stands before all of a message's calls, and after them.
        opening: What stands before each call's name; what stands in it before a line's end may be left out.
        name_end: What stands after the name.
        key_opening: What stands before an argument's name.
        key_end: What stands after it.
        value_end: What stands after an argument's value.
        closing: What stands after the last argument.
        separator: What stands between two calls.
    """

    section: tuple[str, str] = ("", "")
    opening: str
    name_end: str
    key_opening: str
    key_end: str
    value_end: str
    closing: str
    separator: str = "\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelCalls:
    """Calls, reasoning and content as messages on channels, each with a header: the harmony format.

    Attributes:
        start: What begins a message, before its role.
        channel: What stands before a channel's name.
        constrain: What stands before the type of a message's text.
        message: What ends the header.
        end: What ends a message after which others follow.
        call: What ends a call.
        final: What ends the answer.
    """

    start: str = "<|start|>"
    channel: str = "<|channel|>"
    constrain: str = "<|constrain|>"
    message: str = "<|message|>"
    end: str = "<|end|>"
    call: str = "<|call|>"
    final: str = "<|return|>"


CallSyntax: TypeAlias = JsonCalls | NamedCalls | TaggedCalls | ChannelCalls
