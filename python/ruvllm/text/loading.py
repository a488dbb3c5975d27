"""The tokenizer and the chat template of a model, from wherever they stand."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruvllm.errors import TokenizationError
from ruvllm.text.chat_template import ChatTemplate, choose_template
from ruvllm.text.json_tokenizer import JsonTokenizer, read_config
from ruvllm.text.tokenizer import GgufTokenizer, Tokenizer

if TYPE_CHECKING:
    import ruvllm._native as _native

__all__ = ["ModelText", "load_text", "template_source"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelText:
    """How a model reads and writes text; a folder may have no tokenizer.

    `template_is_chosen` where the user gave a template in the place of the model's.
    """

    tokenizer: Tokenizer | None
    template_source: str | None
    architecture: str
    name: str
    template_is_chosen: bool = False

    def with_template(self, source: str | None) -> "ModelText":
        """The same with a template that the user chose; with its own where there is none."""
        return self if source is None else replace(self, template_source=source, template_is_chosen=True)

    def required_tokenizer(self) -> Tokenizer:
        """The tokenizer; `TokenizationError` where there is none."""
        if self.tokenizer is None:
            raise TokenizationError(
                f"the model {self.name} has no tokenizer.json, so text cannot be used; give "
                "token ids, or put the model's tokenizer.json beside its weights"
            )
        return self.tokenizer

    def template(self) -> ChatTemplate | None:
        """The model's chat template, or the built-in one that fits."""
        tokenizer = self.tokenizer
        if tokenizer is None:
            return None
        ids = {"bos_token": tokenizer.bos_token, "eos_token": tokenizer.eos_token}
        named = {name: tokenizer.token_text(index) for name, index in ids.items() if index is not None}
        texts = {name: text for name, text in named.items() if text is not None}
        if self.template_source and self.template_is_chosen:
            return ChatTemplate(
                self.template_source,
                bos_token=texts.get("bos_token", ""),
                eos_token=texts.get("eos_token", ""),
                name="that was chosen",
                marks=tokenizer.marks,
            )
        return choose_template(
            self.template_source,
            has_token=lambda text: tokenizer.token_id(text) is not None,
            architecture=self.architecture,
            name=self.name,
            special_tokens=texts,
            marks=tokenizer.marks,
        )


def load_text(model: "_native.Model", path: Path) -> ModelText:
    """Read the tokenizer and template out of a GGUF file's metadata, or out of a model's folder."""
    name = model.name or path.stem
    if (native := model.tokenizer()) is not None:
        return ModelText(
            tokenizer=GgufTokenizer(native),
            template_source=model.chat_template,
            architecture=model.architecture,
            name=name,
        )
    folder = path if path.is_dir() else path.parent
    return ModelText(
        tokenizer=JsonTokenizer.from_folder(folder),
        template_source=template_source(read_config(folder)) or model.chat_template,
        architecture=model.architecture,
        name=name,
    )


def template_source(config: Mapping[str, Any]) -> str | None:
    """The template of `tokenizer_config.json`: a text, or a list of named ones of which `default` counts."""
    template = config.get("chat_template")
    if isinstance(template, list):
        named = {entry.get("name"): entry.get("template") for entry in template if isinstance(entry, Mapping)}
        template = named.get("default")
    return template if isinstance(template, str) else None
