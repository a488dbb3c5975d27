"""Which format a model has: by what its chat template writes."""

import re
from collections.abc import Sequence
from dataclasses import replace

from ruvllm.errors import ConfigError
from ruvllm.text.chat_template import ChatTemplate
from ruvllm.text.response.format import ResponseFormat
from ruvllm.text.response.known import GENERIC, KNOWN_FORMATS
from ruvllm.text.response.syntax import Reasons
from ruvllm.text.response.traits import traits_of
from ruvllm.text.response.verification import reads_back, written_calls
from ruvllm.text.tokenizer import Tokenizer

__all__ = ["response_format_of"]

_THINKING_VARIABLES = ("enable_thinking", "thinking")

# Texts that only templates of one family have. The first row of which all are in the template decides.
_WORDS = (
    ("gpt-oss", ("<|channel|>", "<|call|>")),
    ("mistral-v11", ("[TOOL_CALLS]", "[ARGS]")),
    ("mistral", ("[TOOL_CALLS]",)),
    ("qwen-3-coder", ("<tool_call>", "<function=", "<parameter=")),
    ("phi-4-mini", ("<|tool|>", "<|/tool|>")),
    ("deepseek-r1", ("<\uff5ctool\u2581calls\u2581begin\uff5c>", "```json")),
    ("deepseek", ("<\uff5ctool\u2581calls\u2581begin\uff5c>",)),
    ("smollm-3", ("<tool_call>", "xml_tools")),
    ("qwen-3", ("<tool_call>", "enable_thinking")),
    ("qwen-3", ("<tool_call>", "<think>")),
    ("qwen-2.5", ("<tool_call>", "<|im_start|>", "Qwen")),
    ("hermes", ("<tool_call>",)),
    ("llama-3", ("<|start_header_id|>", '"parameters"', "tools")),
)


def response_format_of(
    template: ChatTemplate | None, tokenizer: Tokenizer | None = None, *, name: str | None = None
) -> ResponseFormat:
    """Find a model's format; `name` says it, where it is known better.

    A family's format is believed where it reads the calls back that the template writes. A model whose
    template writes none, or others, is told of the format `generic` in the prompt.
    """
    if name is not None and name not in KNOWN_FORMATS:
        known = ", ".join(KNOWN_FORMATS)
        raise ConfigError(f"there is no response format {name!r}; there are {known}")
    found = KNOWN_FORMATS[name] if name else _detected(template) if template else GENERIC
    if template and name:
        found = replace(found, native=found in _read_back(template, [found]))
    if template:
        found = _with_thoughts(found, template.source)
    return _with_tokens(found, tokenizer) if tokenizer else found


def _detected(template: ChatTemplate) -> ResponseFormat:
    source = template.source
    by_words = [name for name, words in _WORDS if all(word in source for word in words)]
    traits = traits_of(template)
    if not traits.calls:
        # It tells of tools in the words of a family, and leaves the calls to the model.
        told = traits.tools or traits.tools_of_system
        return KNOWN_FORMATS[by_words[0]] if by_words and told else GENERIC
    likely = [KNOWN_FORMATS[name] for name in by_words]
    others = [one for one in KNOWN_FORMATS.values() if one.native and one not in likely]
    return next(iter(_read_back(template, [*likely, *others])), GENERIC)


def _read_back(template: ChatTemplate, formats: Sequence[ResponseFormat]) -> list[ResponseFormat]:
    written = written_calls(template, traits_of(template))
    return [one for one in formats if reads_back(one, written)]


def _with_thoughts(found: ResponseFormat, source: str) -> ResponseFormat:
    """The format with what the template calls the choice to think."""
    reasons = found.reasons
    if reasons is None:
        # A family's later models may think aloud, and their templates say so.
        return replace(found, reasons=Reasons()) if "</think>" in source else found
    variable = next((one for one in _THINKING_VARIABLES if re.search(rf"\b{one}\b", source)), None)
    return replace(found, reasons=replace(reasons, variable=variable))


def _with_tokens(found: ResponseFormat, tokenizer: Tokenizer) -> ResponseFormat:
    """The format with those control tokens of a vocabulary that its marks have."""
    special = {}
    for text in sorted(tokenizer.marks):
        if any(text in mark for mark in found.marks) and (token := tokenizer.token_id(text)) is not None:
            special[text] = token
    return replace(found, special=special)
