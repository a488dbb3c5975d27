"""A server of models that call tools as a script tells them, and what such a script comes to."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from ruvllm import LLM
from ruvllm.serve import create_app
from ruvllm.text.builtin_templates import BUILTIN_TEMPLATES
from tests.serve.running import RunningServer, running
from tests.serve.scripted_models import write_script

# A template that opens what the model thinks, unless that is turned off.
THINKING = (
    "{%- for message in messages %}{{ '<|im_start|>' + message.role + '\n' }}"
    "{%- if message.reasoning_content %}{{ '<think>' + message.reasoning_content + '</think>' }}{%- endif %}"
    "{{ message.content + '<|im_end|>\n' }}{%- endfor %}{{ '<|im_start|>assistant\n' }}"
    "{%- if enable_thinking is not defined or enable_thinking %}{{ '<think>\n' }}{%- endif %}"
)

# One that leaves thoughts of before out, and so says that the model has some.
FORGETTING = (
    "{%- for message in messages %}{{ '<|im_start|>' + message.role + '\n' }}"
    "{{ (message.content.split('</think>') | last) + '<|im_end|>\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{%- endif %}"
)
# One that writes calls with a control token.
LISTED = (
    "{%- for tool in tools or [] %}{{ tool | tojson }}{%- endfor %}"
    "{%- for message in messages %}{{ '<|im_start|>' + message.role + '\n' + message.content }}"
    "{%- for call in message.tool_calls or [] %}"
    "{{ '[TOOL_CALLS][' }}"
    "{{ {'name': call.function.name, 'arguments': call.function.arguments} | tojson + ']' }}"
    "{%- endfor %}{{ '<|im_end|>\n' }}{%- endfor %}{{ '<|im_start|>assistant\n' }}"
)

TEMPLATES = {"thinks": THINKING, "calls": FORGETTING, "hidden": LISTED}

# By model: the pieces of its answer, each a token.
SCRIPTS: dict[str, list[str]] = {
    "calls": [
        *(
            "<think>",
            "Two ",
            "cities.",
            "</think>\n\n",
            "I look. ",
            "<tool_call>\n",
            '{"name": "wea',
            'ther", "argu',
        ),
        *('ments": {"ci', 'ty": "Pa', 'ris"}', "}\n</tool_call>\n", '<tool_call>\n{"name": "weather", '),
        *('"arguments": {"city": "R\\u00f6m"}}', "\n</tool_call>"),
    ],
    "broken": [
        "<tool_call>\n",
        '{"name": "weather", "arg',
        'uments": {"city"',
        ": 'Paris'}",
        "}\n</tool_call>",
    ],
    "endless": ["<tool_call>\n", '{"name": "weather", "arguments": ', '{"input": 1e999, "b": NaN}', "}\n"],
    "half": ["<tool_call>\n", '{"id": "\\ud800", "name": "weather", "argum', 'ents": {"input": "\\udfff"}}'],
    "nested": ["<tool_call>\n", '{"function": ' * 600, "{ "],
    "ends-early": ["<tool_call>\n", '{"name": "weather", "arg', 'uments": {"ci', 'ty": "Par'],
    "no-call": ["<tool_call>\n", "{not a call}", "\n</tool_call>", " So."],
    "text": [
        "*** Be",
        "gin ",
        '<tool_call>\n{"name": "patch", "arguments": {"input": "a\\n',
        '\\"b\\""}}',
        "\n</tool_call>",
    ],
    "thinks": ["Hm", "m.", "</think>\n", "\nBe", "cause."],
    "plain": ["Hel", "lo ", "you."],
    "hidden": ["[TOOL_CALLS]", '[{"name": "weather", ', '"arguments": {}}]'],
}
FUNCTION: dict[str, Any] = {
    "name": "weather",
    "description": "The weather in a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
TOOL = {"type": "function", "function": FUNCTION}
FLAT = {"type": "function", **FUNCTION}
CLAUDE = {"name": "weather", "description": "The weather.", "input_schema": FUNCTION["parameters"]}
ASK = [{"role": "user", "content": "How is the weather in Paris and in Rome?"}]
ARGUMENTS = ['{"city": "Paris"}', '{"city": "R\\u00f6m"}']


@contextmanager
def tool_server(folder: Path) -> Iterator[RunningServer]:
    """All of them behind one server."""
    with ExitStack() as stack:
        models = {}
        for name, pieces in SCRIPTS.items():
            template = TEMPLATES.get(name, BUILTIN_TEMPLATES["chatml"])
            control = frozenset({"[TOOL_CALLS]"})
            path = write_script(folder / f"{name}.gguf", pieces, template=template, control=control)
            models[name] = stack.enter_context(LLM(path))
        yield stack.enter_context(running(create_app(models)))
