# ruff: noqa: E501 - a template's white space counts, and its lines are long
"""Chat templates in the manner of the families, in short: those that tests need no files for."""

_TURNS = """\
{%- for message in messages %}
{%- if message.role == 'tool' %}{{ '<|im_start|>user\\n<tool_response>\\n' + message.content + '\\n</tool_response><|im_end|>\\n' }}
{%- elif message.tool_calls %}{{ '<|im_start|>assistant\\n' + message.content }}
{%- for call in message.tool_calls %}CALL{%- endfor %}{{ '<|im_end|>\\n' }}
{%- else %}{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}THINK{%- endif %}"""
_TOOLS = "{%- if tools %}{{ '<|im_start|>system\\n' }}{%- for tool in tools %}{{ tool | tojson }}{%- endfor %}{{ '<|im_end|>\\n' }}{%- endif %}\n"


def _template(call: str, *, think: str = "", tools: str = _TOOLS) -> str:
    return tools + _TURNS.replace("CALL", call).replace("THINK", think)


HERMES = _template(
    """{{ '\\n<tool_call>\\n{"name": "' + call.function.name + '", "arguments": ' + (call.function.arguments | tojson) + '}\\n</tool_call>' }}"""
)
THINKING = (
    HERMES
    + "{%- if enable_thinking is defined and not enable_thinking %}{{ '<think>\\n\\n</think>\\n\\n' }}{%- endif %}"
)
CODER = _template(
    """{{ '\\n<tool_call>\\n<function=' + call.function.name + '>\\n' }}{%- for name, value in call.function.arguments | items %}{{ '<parameter=' + name + '>\\n' + (value if value is string else value | tojson) + '\\n</parameter>\\n' }}{%- endfor %}{{ '</function>\\n</tool_call>' }}"""
)
NAMED = _template(
    """{{ '[TOOL_CALLS]' + call.function.name + '[ARGS]' + (call.function.arguments | tojson) }}"""
)
LISTED = _template(
    """{{ '[TOOL_CALLS][' + ({'name': call.function.name, 'arguments': call.function.arguments} | tojson) + ']' }}"""
)
LLAMA = _template(
    """{%- if message.tool_calls | length != 1 %}{{ raise_exception('one call at once') }}{%- endif %}{{ '{"name": "' + call.function.name + '", "parameters": ' + (call.function.arguments | tojson) + '}' }}"""
)
# It wants the arguments as a text.
DEEPSEEK = _template(
    """{{ '<\uff5ctool\u2581calls\u2581begin\uff5c><\uff5ctool\u2581call\u2581begin\uff5c>' + call.function.name + '<\uff5ctool\u2581sep\uff5c>' + call.function.arguments + '<\uff5ctool\u2581call\u2581end\uff5c><\uff5ctool\u2581calls\u2581end\uff5c>' }}"""
)
PHI = (
    "{%- for message in messages %}{{ '<|' + message.role + '|>' + message.content }}"
    "{%- if message.tools %}{{ '<|tool|>' + message.tools + '<|/tool|>' }}{%- endif %}{{ '<|end|>' }}{%- endfor %}"
)
UNKNOWN = _template("""{{ '@@' + call.function.name + '(' + (call.function.arguments | tojson) + ')' }}""")
PLAIN = (
    "{%- for message in messages %}{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}"
    "{%- endfor %}{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{%- endif %}"
)
# Some know no system's message.
WITHOUT_SYSTEM = (
    "{%- for message in messages %}{%- if message.role == 'system' %}{{ raise_exception('no system') }}{%- endif %}"
    "{{ '<start_of_turn>' + message.role + '\\n' + message.content + '<end_of_turn>\\n' }}{%- endfor %}"
)
