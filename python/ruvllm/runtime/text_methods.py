"""What a loaded model does with text: tokens, templates, conversations. `LLM` has these methods."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from ruvllm._checks import check_integer
from ruvllm.errors import ConfigError, TokenizationError
from ruvllm.runtime.open_model import OpenModel
from ruvllm.runtime.prompts import Prompt, check_tokens
from ruvllm.text.chat_template import ChatTemplate, check_variables
from ruvllm.text.marks import Rendered
from ruvllm.text.messages import MessageLike
from ruvllm.text.response import Dialogue, ResponseFormat, has_tools, response_format_of
from ruvllm.text.tokenizer import Tokenizer, encode_own, encode_rendered
from ruvllm.tools import ToolChoice, ToolLike, check_tools

__all__ = ["TextMethods"]


class TextMethods:
    """Text and tokens of the model in `_open`."""

    _open: OpenModel

    @property
    def tokenizer(self) -> Tokenizer | None:
        """The model's tokenizer; `None` where its folder has none."""
        return self._open.text.tokenizer

    def tokenize(self, text: str, *, add_bos: bool | None = None, parse_special: bool = True) -> list[int]:
        """Give a text's tokens.

        Args:
            text: Any text.
            add_bos: Whether the token that begins a text comes first; `None` does what the model wants.
            parse_special: Whether texts such as `<|im_end|>` become the tokens of that name.
        """
        if not isinstance(text, str):
            raise TokenizationError(f"the text is a {type(text).__name__}; it must be a str")
        return self._required_tokenizer().encode(text, add_bos=add_bos, parse_special=parse_special)

    def detokenize(self, token_ids: Sequence[int], *, skip_special: bool = False) -> str:
        """Give the text of tokens; with `skip_special` without the marks among them."""
        checked = self._checked_tokens(token_ids)
        return self._required_tokenizer().decode(checked, skip_special=skip_special)

    def token_bytes(self, token_id: int) -> bytes:
        """Give what a token adds to a text: bytes, since a character may span several tokens.

        A mark such as `<|im_end|>` adds nothing.
        """
        self._required_tokenizer()
        check_integer("token_id", token_id, 0, self._open.facts.vocab_size - 1)
        vocabulary = self._open.vocabulary
        if vocabulary is None or vocabulary.is_special(token_id):
            return b""
        return vocabulary.bytes(token_id) or b""

    def apply_chat_template(
        self,
        messages: str | Sequence[MessageLike],
        *,
        add_generation_prompt: bool = True,
        variables: Mapping[str, Any] | None = None,
        tools: Sequence[ToolLike] = (),
    ) -> str:
        """Give the text that the model sees for a conversation.

        Args:
            messages: Each with `role` and `content`; a lone text is the user's message.
            add_generation_prompt: Whether the text ends where the answer begins.
            variables: More for the template, such as `{"enable_thinking": False}`.
            tools: What may be called, as the model is told of it.
        """
        messages, variables = self._with_tools(messages, variables, tools)
        return self._required_template().render(
            messages, add_generation_prompt=add_generation_prompt, variables=variables
        )

    def chat_tokens(
        self,
        messages: str | Sequence[MessageLike],
        *,
        continue_last: bool = False,
        variables: Mapping[str, Any] | None = None,
        parse_special: bool = False,
        tools: Sequence[ToolLike] = (),
    ) -> list[int]:
        """Give the tokens that the model sees for a conversation.

        What messages say is text: marks such as `<|im_start|>` come from the template alone.

        Args:
            messages: As for `apply_chat_template`.
            continue_last: Whether the last message, the assistant's, is a beginning to go on from.
            variables: More for the template.
            parse_special: Whether marks in messages and variables become tokens too. Only for texts of your
                own: whoever writes such a text can end its message and begin one with any role.
            tools: As for `apply_chat_template`.
        """
        if not parse_special:
            rendered = self.render_chat(
                messages, continue_last=continue_last, variables=variables, tools=tools
            )
            return encode_rendered(self._required_tokenizer(), rendered)
        messages, variables = self._with_tools(messages, variables, tools)
        template = self._required_template()
        render = template.render_open if continue_last else template.render
        return encode_own(self._required_tokenizer(), render(messages, variables=variables))

    def render_chat(
        self,
        messages: str | Sequence[MessageLike],
        *,
        continue_last: bool = False,
        variables: Mapping[str, Any] | None = None,
        tools: Sequence[ToolLike] = (),
    ) -> Rendered:
        """Give what `chat_tokens` makes tokens of: the text, with the template's marks told apart."""
        messages, variables = self._with_tools(messages, variables, tools)
        return self._required_template().rendered(messages, continue_last=continue_last, variables=variables)

    @property
    def chat_template(self) -> str | None:
        """The template by which conversations become text, in Jinja; `None` where none fits the model."""
        return None if self.tokenizer is None or self._template is None else self._template.source

    @property
    def brings_chat_template(self) -> bool:
        """Whether a chat template came with the model, or was given for it.

        Where not, a built-in one may fit it, as far as its vocabulary tells; it may be a base model then,
        which was trained to continue texts alone.
        """
        return self._open.text.template_source is not None

    @property
    def response_format(self) -> ResponseFormat:
        """How the model writes what it thinks and the calls of tools."""
        return self._dialogue.response_format

    @cached_property
    def _dialogue(self) -> Dialogue:
        template = self._required_template()
        return Dialogue(template, response_format_of(template, self.tokenizer))

    def _with_tools(
        self,
        messages: str | Sequence[MessageLike],
        variables: Mapping[str, Any] | None,
        tools: Sequence[ToolLike],
    ) -> tuple[str | Sequence[MessageLike], Mapping[str, Any] | None]:
        """What the template gets of a conversation with tools; any other is as it is."""
        if not tools and not has_tools(messages):
            return messages, variables
        told, more = self._dialogue.prepared(messages, check_tools(tools, ToolChoice()))
        return told, {**more, **check_variables(variables)}

    def _tokens(self, prompt: Prompt) -> list[int]:
        """The tokens of a prompt, which has at least one."""
        if not isinstance(prompt, str):
            return self._checked_tokens(prompt)
        tokens = self.tokenize(prompt)
        if not tokens:
            raise ConfigError("the prompt is empty; it must have at least one token")
        return tokens

    def _checked_tokens(self, token_ids: object) -> list[int]:
        return check_tokens(token_ids, self._open.facts.vocab_size)

    def _required_tokenizer(self) -> Tokenizer:
        return self._open.text.required_tokenizer()

    @cached_property
    def _template(self) -> ChatTemplate | None:
        return self._open.text.template()

    def _required_template(self) -> ChatTemplate:
        self._required_tokenizer()
        if self._template is None:
            raise TokenizationError(
                f"the model {self._open.text.name} has no chat template, and none of the built-in ones fits; "
                "write the prompt as the model knows it and use generate"
            )
        return self._template
