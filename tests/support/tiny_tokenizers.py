"""Small tokenizers, trained on the spot: byte-level BPE, and BPE of characters with bytes to fall back on."""

import json
from pathlib import Path

from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

TEXTS = [
    "The quick brown fox jumps over the lazy dog.",
    "Hello, world! Hello there, general greeting of the world.",
    "def function(argument): return argument + 1",
    "naïve café façade, 日本語, здравствуй мир",
    "  leading and   inner spaces\n\nnew lines\ttabs",
] * 20  # fmt: skip


def byte_level(*, bos: bool = False) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=["<|begin|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<|begin|> $A", special_tokens=[("<|begin|>", tokenizer.token_to_id("<|begin|>"))]
        )
    return tokenizer


def byte_fallback(*, metaspace: bool) -> Tokenizer:
    """As Llama 2's and Gemma's; `metaspace` decodes with the one decoder, else with the sequence of four."""
    specials = ["<unk>", "<s>", "</s>"]
    byte_tokens = [f"<0x{byte:02X}>" for byte in range(256)]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    if metaspace:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
        tokenizer.decoder = decoders.Sequence(
            [decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="first")]
        )
    else:
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        tokenizer.decoder = decoders.Sequence(
            [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
        )
    # Trained on plain letters, so that other characters need the byte tokens.
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=specials + byte_tokens, show_progress=False, limit_alphabet=60
    )
    tokenizer.train_from_iterator([text for text in TEXTS if text.isascii()], trainer)
    # The byte tokens are ordinary ones of the model, not marks.
    data = json.loads(tokenizer.to_str())
    data["added_tokens"] = [token for token in data["added_tokens"] if token["content"] in specials]
    return Tokenizer.from_str(json.dumps(data))


def with_plain_added_token(tokenizer: Tokenizer, text: str) -> Tokenizer:
    """A token that is added but not special: text, whatever is parsed."""
    tokenizer.add_tokens([AddedToken(text, special=False, normalized=False)])
    return tokenizer


def write_folder(folder: Path, tokenizer: Tokenizer, config: dict[str, object] | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")
    if config is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder
