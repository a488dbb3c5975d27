"""What every `LlmBackend` must do, with a real small model."""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ruvllm import (
    LLM,
    ConfigError,
    ContextLengthError,
    GenerateParams,
    InvalidOperationError,
    LlmBackend,
    ModelConfig,
    RuvLLMError,
)
from ruvllm.backends.supports import Supports
from tests.support.by_hand import likeliest_tokens

# An engine that spins while it waits takes long beside others at work.
pytestmark = [pytest.mark.real_model, pytest.mark.timeout(240)]

GREEDY = GenerateParams(temperature=0.0, repetition_penalty=1.0, max_tokens=24)
PROMPT = "The capital of France is"
MakeBackend = Callable[[], LlmBackend]


def test_it_is_a_backend(backend: LlmBackend) -> None:
    assert isinstance(backend, LlmBackend)
    assert backend.is_loaded()


def test_nothing_is_loaded(make_backend: MakeBackend) -> None:
    backend = make_backend()
    assert not backend.is_loaded()
    assert backend.model_info() is None
    assert backend.tokenizer() is None
    with pytest.raises(InvalidOperationError, match="load_model"):
        backend.generate(PROMPT)
    with pytest.raises(InvalidOperationError, match="load_model"):
        backend.generate_stream(PROMPT, None, lambda text: True)


def test_a_model_that_does_not_exist(make_backend: MakeBackend, tmp_path: Path) -> None:
    backend = make_backend()
    with pytest.raises(RuvLLMError):
        backend.load_model(str(tmp_path / "missing.gguf"))
    assert not backend.is_loaded()


def test_a_load_that_fails_keeps_the_model(
    make_backend: MakeBackend, smollm2_path: Path, tmp_path: Path
) -> None:
    backend = make_backend()
    backend.load_model(str(smollm2_path), ModelConfig(max_context=512))
    with pytest.raises(RuvLLMError):
        backend.load_model(str(tmp_path / "missing.gguf"))
    assert backend.is_loaded()
    assert backend.generate(PROMPT, GREEDY)


def test_loading_anew(make_backend: MakeBackend, smollm2_path: Path) -> None:
    backend = make_backend()
    for max_context in (512, 1024):
        backend.load_model(str(smollm2_path), ModelConfig(max_context=max_context))
        info = backend.model_info()
        assert info is not None
        assert info.max_context == max_context


def test_greedy_text(backend: LlmBackend) -> None:
    text = backend.generate(PROMPT, GREEDY)
    assert "Paris" in text
    assert backend.generate(PROMPT, GREEDY) == text


def test_default_params(backend: LlmBackend) -> None:
    assert isinstance(backend.generate(PROMPT, GenerateParams(max_tokens=4)), str)


def test_the_stream_joined_is_the_text(backend: LlmBackend, supports: Supports, smollm2: LLM) -> None:
    pieces: list[str] = []

    def take(text: str) -> bool:
        pieces.append(text)
        return True

    backend.generate_stream(PROMPT, GREEDY, take)
    assert "".join(pieces) == backend.generate(PROMPT, GREEDY)
    assert len(pieces) > 3
    assert all(pieces)
    # Other engines round these weights in their own ways: test_mistralrs.py compares on weights in F32.
    if not supports.evaluations:
        return
    # Many tokens after the other, and none of a backend's ways.
    made = likeliest_tokens(smollm2, smollm2.tokenize(PROMPT), 24)
    assert "".join(pieces) == smollm2.detokenize(made, skip_special=True)


def test_no_piece_has_half_a_character(backend: LlmBackend) -> None:
    """Most characters here are several tokens; only the last may be cut off, where the tokens end."""
    tokenizer = backend.tokenizer()
    assert tokenizer is not None
    for prompt in ("Emoji: 🙂🙂🙂🙂🙂", "日本語: 東京、大阪、京都、東京、大阪、京都、"):
        pieces: list[str] = []
        backend.generate_stream(prompt, GREEDY, lambda text, pieces=pieces: pieces.append(text) is None)
        whole = "".join(pieces)
        assert whole == backend.generate(prompt, GREEDY)
        assert sum(character > "\u2fff" for character in whole) >= 4, whole
        assert len(pieces) < len(tokenizer.encode(whole, add_bos=False))
        assert not [piece for piece in pieces[:-1] if "\ufffd" in piece]


def test_false_stops_the_stream(backend: LlmBackend) -> None:
    pieces: list[str] = []

    def take(text: str) -> bool:
        pieces.append(text)
        return len(pieces) < 3

    backend.generate_stream(PROMPT, GREEDY, take)
    assert len(pieces) == 3


def test_an_exception_in_the_callback_is_passed_on(backend: LlmBackend) -> None:
    def take(text: str) -> bool:
        raise KeyError(text)

    with pytest.raises(KeyError):
        backend.generate_stream(PROMPT, GREEDY, take)
    assert backend.generate(PROMPT, GREEDY)


def test_max_tokens(backend: LlmBackend) -> None:
    tokenizer = backend.tokenizer()
    assert tokenizer is not None
    for count in (1, 5):
        params = GenerateParams(temperature=0.0, repetition_penalty=1.0, max_tokens=count)
        assert len(tokenizer.encode(backend.generate(PROMPT, params), add_bos=False)) <= count


def test_stop_sequences(backend: LlmBackend) -> None:
    text = backend.generate(PROMPT, GREEDY)
    stop = text[5:9]
    params = GenerateParams(temperature=0.0, repetition_penalty=1.0, max_tokens=24, stop_sequences=[stop])
    pieces: list[str] = []
    backend.generate_stream(PROMPT, params, lambda piece: pieces.append(piece) is None)
    assert backend.generate(PROMPT, params) == "".join(pieces) == text[: text.index(stop)]


def test_seeds(backend: LlmBackend, supports: Supports) -> None:
    def ask(seed: int) -> str:
        return backend.generate("Once upon a time", GenerateParams(temperature=1.0, max_tokens=24, seed=seed))

    if not supports.seed:
        with pytest.raises(ConfigError, match="has no seed"):
            ask(1)
        return
    assert ask(1) == ask(1)
    assert ask(1) != ask(2)


def test_a_prompt_that_is_too_long(make_backend: MakeBackend, smollm2_path: Path) -> None:
    backend = make_backend()
    backend.load_model(str(smollm2_path), ModelConfig(max_context=64))
    with pytest.raises(ContextLengthError, match="64"):
        backend.generate("word " * 100)


def test_an_empty_prompt(backend: LlmBackend) -> None:
    with pytest.raises(ConfigError):
        backend.generate("")


def test_info(backend: LlmBackend) -> None:
    info = backend.model_info()
    assert info is not None
    assert info.architecture == "llama"
    assert info.vocab_size == 49152
    assert info.num_parameters > 100_000_000
    assert info.max_context > 0


def test_tokenizer(backend: LlmBackend) -> None:
    tokenizer = backend.tokenizer()
    assert tokenizer is not None
    ids = tokenizer.encode("Hello, world!", add_bos=False)
    assert ids == [19556, 28, 905, 17]
    assert tokenizer.decode(ids) == "Hello, world!"


def test_many_threads(backend: LlmBackend) -> None:
    prompts = [f"{number} and {number + 1} are" for number in range(6)]
    # Long enough to run beside each other; each is made twice.
    short = replace(GREEDY, max_tokens=12)
    expected = [backend.generate(prompt, short) for prompt in prompts]
    found: dict[int, str] = {}

    def ask(index: int) -> None:
        found[index] = backend.generate(prompts[index], short)

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(len(prompts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[index] for index in range(len(prompts))] == expected
