"""How models write thoughts and calls: one description of a format, and what is made of it."""

from ruvllm.text.response.detection import response_format_of
from ruvllm.text.response.dialogue import Dialogue, has_tools
from ruvllm.text.response.format import ResponseFormat
from ruvllm.text.response.json_text import object_in
from ruvllm.text.response.known import KNOWN_FORMATS
from ruvllm.text.response.parser import ResponseParser
from ruvllm.text.response.parts import CallArguments, CallBegan, CallEnded, Content, Part, Reasoning

__all__ = [
    "KNOWN_FORMATS",
    "CallArguments",
    "CallBegan",
    "CallEnded",
    "Content",
    "Dialogue",
    "Part",
    "Reasoning",
    "ResponseFormat",
    "ResponseParser",
    "has_tools",
    "object_in",
    "response_format_of",
]
