"""Chat templates for models whose files bring none, by the name of their form.

Each gives the text that the family's own template gives. `choose` says which fits a model.
"""

from collections.abc import Callable

__all__ = ["BUILTIN_TEMPLATES", "choose"]

_CHATML = """\
{%- for message in messages -%}
{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{ '<|im_start|>assistant\\n' }}
{%- endif -%}
"""

# Where a family has no system role of its own, the first system message is set before the loop.
_SYSTEM_APART = """\
{%- if messages[0]['role'] == 'system' -%}
{%- set system = messages[0]['content'] -%}
{%- set turns = messages[1:] -%}
{%- else -%}
{%- set turns = messages -%}
{%- endif -%}
"""

_ALTERNATION = """\
{%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}
{%- endif -%}
"""

_LLAMA_2 = (
    _SYSTEM_APART
    + "{%- for message in turns -%}"
    + _ALTERNATION
    + """\
{%- set content = message['content'] -%}
{%- if loop.first and system is defined -%}
{%- set content = '<<SYS>>\\n' + system + '\\n<</SYS>>\\n\\n' + content -%}
{%- endif -%}
{%- if message['role'] == 'user' -%}
{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}
{%- elif message['role'] == 'assistant' -%}
{{ ' ' + content.strip() + ' ' + eos_token }}
{%- endif -%}
{%- endfor -%}
"""
)

_LLAMA_3 = """\
{{ bos_token }}
{%- for message in messages -%}
{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}
{{- message['content'].strip() + '<|eot_id|>' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif -%}
"""

_MISTRAL = (
    _SYSTEM_APART
    + "{{ bos_token }}{%- for message in turns -%}"
    + _ALTERNATION
    + """\
{%- if message['role'] == 'user' -%}
{{ ' [INST] ' }}
{%- if loop.first and system is defined -%}{{ system + '\\n\\n' }}{%- endif -%}
{{ message['content'] + ' [/INST]' }}
{%- elif message['role'] == 'assistant' -%}
{{ ' ' + message['content'] + eos_token }}
{%- else -%}
{{ raise_exception('Only user and assistant roles are supported, with the exception of an initial optional \
system message!') }}
{%- endif -%}
{%- endfor -%}
"""
)

_PHI_3 = """\
{%- set marks = {'system': '<|system|>', 'user': '<|user|>', 'assistant': '<|assistant|>'} -%}
{%- for message in messages -%}
{%- if message['role'] in marks -%}
{{ marks[message['role']] + '\\n' + message['content'] + '<|end|>\\n' }}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|assistant|>\\n' }}{%- else -%}{{ eos_token }}{%- endif -%}
"""

_GEMMA = (
    "{{ bos_token }}"
    + _SYSTEM_APART
    + "{%- for message in turns -%}"
    + _ALTERNATION
    + """\
{{ '<start_of_turn>' + ('model' if message['role'] == 'assistant' else message['role']) + '\\n' }}
{%- if loop.first and system is defined -%}{{ system + '\\n\\n' }}{%- endif -%}
{{ message['content'].strip() + '<end_of_turn>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<start_of_turn>model\\n' }}{%- endif -%}
"""
)

BUILTIN_TEMPLATES = {
    "chatml": _CHATML,
    "llama-2": _LLAMA_2,
    "llama-3": _LLAMA_3,
    "mistral": _MISTRAL,
    "phi-3": _PHI_3,
    "gemma": _GEMMA,
}

# Tokens that only models of one form have. The first row of which all are in the vocabulary decides.
_MARKS = (
    ("llama-3", ("<|start_header_id|>", "<|eot_id|>")),
    ("gemma", ("<start_of_turn>", "<end_of_turn>")),
    ("phi-3", ("<|user|>", "<|assistant|>", "<|end|>")),
    ("chatml", ("<|im_start|>", "<|im_end|>")),
    ("mistral", ("[INST]", "[/INST]")),
)
_ARCHITECTURES = {
    "mistral": "mistral",
    "phi3": "phi-3",
    "gemma": "gemma",
    "gemma2": "gemma",
    "gemma3": "gemma",
    "qwen2": "chatml",
    "qwen3": "chatml",
}


def choose(*, has_token: Callable[[str], bool], architecture: str, name: str) -> str | None:
    """Name the template that fits: by the vocabulary's special tokens, then by architecture and name."""
    for form, tokens in _MARKS:
        if all(has_token(token) for token in tokens):
            return form
    words = name.lower().replace("_", "-").replace(" ", "-")
    if "mistral" in words or "mixtral" in words:
        return "mistral"
    if "llama-2" in words or "llama2" in words:
        return "llama-2"
    return _ARCHITECTURES.get(architecture.lower())
