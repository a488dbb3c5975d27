"""Chat templates: rendered as jinja2 renders them in transformers, refused where they go too far."""

import json
from pathlib import Path
from typing import Any

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.parser
import jinja2.sandbox
import minijinja
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ruvllm.errors import TokenizationError
from ruvllm.text.builtin_templates import BUILTIN_TEMPLATES
from ruvllm.text.chat_template import ChatTemplate, TemplateLimits, choose_template

FOLDER = Path(__file__).parent / "templates"
BOS, EOS = "<s>", "</s>"

SYSTEM = {"role": "system", "content": "You are a helpful assistant"}
TURNS = [
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hi there"},
    {"role": "user", "content": "Who are you"},
    {"role": "assistant", "content": "   I am an assistant   "},
    {"role": "user", "content": "Another question"},
]
CONVERSATIONS: list[list[dict[str, Any]]] = [
    TURNS[:1],
    TURNS[:2],
    TURNS[:3],
    TURNS,
    [SYSTEM, *TURNS],
    [SYSTEM, TURNS[0]],
    [{"role": "system", "content": "  spaces \n"}, {"role": "user", "content": "\n naïve café 日本語 🙂 \t"}],
    [{"role": "user", "content": ""}],
    [{"role": "user", "content": "{{ 7 * 7 }} {% if %} <|im_end|> </s>"}],
    [{"role": "user", "content": "<think>a</think>\n\nb"}, {"role": "assistant", "content": "!c"}, TURNS[0]],
]


class _GenerationTag(jinja2.ext.Extension):
    """transformers' tag, which marks the assistant's part and prints what is in it."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: jinja2.parser.Parser) -> jinja2.nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_inner"), [], [], body).set_lineno(line)

    def _inner(self, caller: Any) -> str:
        return str(caller())


def oracle(source: str, messages: list[dict[str, Any]], **variables: Any) -> str:
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationTag, jinja2.ext.loopcontrols]
    )

    def raise_exception(message: str) -> None:
        raise jinja2.exceptions.TemplateError(message)

    def tojson(value: Any, ensure_ascii: bool = False, indent: int | None = None, **rest: Any) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, **rest)

    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = raise_exception
    context = {"bos_token": BOS, "eos_token": EOS, "tools": None, "documents": None, **variables}
    return environment.from_string(source).render(
        messages=messages, **{"add_generation_prompt": True, **context}
    )


def rendered(source: str, messages: list[dict[str, Any]], **variables: Any) -> str:
    template = ChatTemplate(source, bos_token=BOS, eos_token=EOS)
    prompt = variables.pop("add_generation_prompt", True)
    return template.render(messages, add_generation_prompt=prompt, variables=variables)


SOURCES = {
    **BUILTIN_TEMPLATES,
    "smollm2": (FOLDER / "smollm2.jinja").read_text(encoding="utf-8"),
    "features": (FOLDER / "features.jinja").read_text(encoding="utf-8"),
    "thinking": (FOLDER / "thinking.jinja").read_text(encoding="utf-8"),
}


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("messages", CONVERSATIONS, ids=range(len(CONVERSATIONS)))
@pytest.mark.parametrize("add_generation_prompt", [True, False])
def test_renders_as_jinja2_does(
    name: str, messages: list[dict[str, Any]], add_generation_prompt: bool
) -> None:
    variables = {"add_generation_prompt": add_generation_prompt}
    assert rendered(SOURCES[name], messages, **variables) == oracle(SOURCES[name], messages, **variables)


# Python strips the separators U+001C to U+001F as white space, Rust does not; surrogates are no text.
ANY_TEXT = st.text(
    st.characters(exclude_characters="\x1c\x1d\x1e\x1f", exclude_categories=["Cs"]), max_size=30
)


@pytest.mark.parametrize("name", SOURCES)
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_any_conversation_renders_as_jinja2_does(name: str, data: st.DataObject) -> None:
    contents = data.draw(st.lists(ANY_TEXT, min_size=1, max_size=6))
    messages = [
        {"role": "assistant" if index % 2 else "user", "content": text} for index, text in enumerate(contents)
    ]
    if data.draw(st.booleans()):
        messages.insert(0, {"role": "system", "content": data.draw(ANY_TEXT)})
    assert rendered(SOURCES[name], messages) == oracle(SOURCES[name], messages)


# What the families' own templates give for [SYSTEM, *TURNS] with a generation prompt.
OFFICIAL = json.loads((FOLDER / "official.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("form", BUILTIN_TEMPLATES)
def test_the_built_in_ones_give_the_official_text(form: str) -> None:
    template = ChatTemplate.builtin(form, bos_token=BOS, eos_token=EOS)
    assert template.render([SYSTEM, *TURNS]) == OFFICIAL[form]


@pytest.mark.parametrize("form", ["llama-2", "mistral", "gemma"])
def test_turns_must_alternate_where_the_family_says_so(form: str) -> None:
    template = ChatTemplate.builtin(form)
    with pytest.raises(TokenizationError, match="refused the messages: Conversation roles must alternate"):
        template.render([TURNS[0], TURNS[2]])


@pytest.mark.parametrize(
    ("tokens", "architecture", "name", "form"),
    [
        ({"<|im_start|>", "<|im_end|>"}, "llama", "", "chatml"),
        ({"<|start_header_id|>", "<|eot_id|>"}, "llama", "", "llama-3"),
        ({"<start_of_turn>", "<end_of_turn>"}, "gemma3", "", "gemma"),
        ({"<|user|>", "<|assistant|>", "<|end|>"}, "phi3", "", "phi-3"),
        ({"[INST]", "[/INST]"}, "llama", "", "mistral"),
        (set(), "llama", "Llama-2-7b-chat", "llama-2"),
        (set(), "llama", "Mistral 7B Instruct", "mistral"),
        (set(), "qwen2", "", "chatml"),
        (set(), "llama", "TinyStories", None),
    ],
)
def test_choosing_a_built_in_one(tokens: set[str], architecture: str, name: str, form: str | None) -> None:
    template = choose_template(None, has_token=tokens.__contains__, architecture=architecture, name=name)
    assert (template.name if template else None) == (f"built-in {form}" if form else None)


def test_the_models_own_template_comes_first() -> None:
    template = choose_template(
        "{{ bos_token }}mine", has_token=lambda text: True, special_tokens={"bos_token": "<B>"}
    )
    assert template is not None
    assert template.render("x") == "<B>mine"


def test_there_is_no_such_built_in_one() -> None:
    with pytest.raises(TokenizationError, match="there are chatml, llama-2"):
        ChatTemplate.builtin("alpaca")


def test_variables() -> None:
    template = ChatTemplate("{{ enable_thinking }} {{ messages|length }}")
    assert template.render("x", variables={"enable_thinking": False}) == "False 1"


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        (5, "variables is a int; it must be a dict"),
        ([("a", 1)], "variables is a list"),
        ({"messages": []}, "variables has messages, which a template gets of the conversation alone"),
        ({"a": {"b": "\udc80"}}, r"variables\['a'\] has half of a character"),
    ],
)
def test_what_are_no_variables(variables: Any, words: str) -> None:
    template = ChatTemplate("{{ messages|length }}")
    for render in (template.render, template.rendered):
        with pytest.raises(TokenizationError, match=words):
            render("x", variables=variables)


def test_the_date() -> None:
    assert len(ChatTemplate("{{ strftime_now('%d %b %Y') }}").render("x")) == 11


# What minijinja refuses: its words change with its releases, ours say that it failed, and where.
@pytest.mark.parametrize(
    "source",
    [
        "{% if %}",
        "{{ unknown() }}",
        "{% include 'other' %}",
        "{% import 'os' as os %}",
        "{% for i in range(100000) %}{% for j in range(100000) %}{{ j }}{% endfor %}{% endfor %}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
        "{{ 'a' * 1000000000 }}",
        "{{ messages.x.y }}",
        "{{ messages.__class__.__mro__ }}{{ messages[0].__class__.x }}",
    ],
)
def test_templates_that_the_engine_refuses(source: str) -> None:
    with pytest.raises(TokenizationError, match=r"the chat template mine failed in line 1: \S") as caught:
        ChatTemplate(source, name="mine").render("x")
    assert isinstance(caught.value.__cause__, minijinja.TemplateError)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("\n\n{{ messages.x.y }}", "failed in line 3: "),
        ("{{ raise_exception('only text') }}", "refused the messages: only text"),
        ("{% for i in range(600) %}{{ 'a' * 10000 }}{% endfor %}", "characters; at most 4194304"),
        ("{{ strftime_now('%999999999d') }}", "not allowed"),
        ("{{ strftime_now('%Y' * 1000) }}", "not allowed"),
        ("{{ messages | tojson(indent=1000000000) }}", "indent 1000000000"),
    ],
)
def test_bad_templates(source: str, words: str) -> None:
    with pytest.raises(TokenizationError, match=words):
        ChatTemplate(source).render("x")


def test_a_template_that_is_too_long() -> None:
    with pytest.raises(TokenizationError, match="262145 characters; at most 262144"):
        ChatTemplate("x" * (256 * 1024 + 1))


def test_limits_can_be_set() -> None:
    source = "{% for i in range(100) %}x{% endfor %}"
    assert ChatTemplate(source, limits=TemplateLimits(fuel=1000, fuel_per_message=0)).render("x") == "x" * 100
    with pytest.raises(TokenizationError, match="failed in line 1"):
        ChatTemplate(source, limits=TemplateLimits(fuel=10, fuel_per_message=0)).render("x")


def test_long_conversations_have_fuel() -> None:
    messages = [
        {"role": "user" if index % 2 == 0 else "assistant", "content": "x" * 100} for index in range(2000)
    ]
    for name, source in SOURCES.items():
        assert rendered(source, messages), name
