"""Which format a model has: by what its chat template writes."""

from collections.abc import Callable
from dataclasses import replace

from ruvllm.errors import ConfigError
from ruvllm.text.chat_template import ChatTemplate
from ruvllm.text.response.format import ResponseFormat
from ruvllm.text.response.known import GENERIC, KNOWN_FORMATS
from ruvllm.text.tokenizer import Tokenizer

__all__ = ["response_format_of"]

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

    A template that writes no calls of a known family gets the format `generic`.
    """
    if name is not None:
        if name not in KNOWN_FORMATS:
            known = ", ".join(KNOWN_FORMATS)
            raise ConfigError(f"there is no response format {name!r}; there are {known}")
        found = KNOWN_FORMATS[name]
    else:
        found = KNOWN_FORMATS[_by_words(template.source)] if template else GENERIC
    return _with_tokens(found, tokenizer) if tokenizer else found


def _by_words(source: str) -> str:
    has: Callable[[str], bool] = source.__contains__
    return next((name for name, words in _WORDS if all(map(has, words))), GENERIC.name)


def _with_tokens(found: ResponseFormat, tokenizer: Tokenizer) -> ResponseFormat:
    """The format with those control tokens of a vocabulary that its marks have."""
    special = {}
    for text in sorted(tokenizer.marks):
        if any(text in mark for mark in found.marks) and (token := tokenizer.token_id(text)) is not None:
            special[text] = token
    return replace(found, special=special)
