"""What is mistral.rs's own: its options, the tokens that it tells of, what it cannot read."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ruvllm import LLM, ConfigError, GenerateParams
from ruvllm.errors import BackendError, InvalidModelError
from tests.backends.conftest import TINY, WITHOUT_MISTRALRS
from tests.conftest import FIXTURES, REFERENCE_GGUF
from tests.support.numpy_reference import Reference
from tests.support.numpy_reference.random_models import (
    in_older_keys,
    new_config,
    random_weights,
    write_folder,
)
from tests.support.tiny_tokenizers import byte_level

pytestmark = WITHOUT_MISTRALRS

PROMPT = "The terms of the"
GREEDY = GenerateParams(temperature=0.0, repetition_penalty=1.0, max_tokens=24, ignore_eos=True)


def opened(path: Path, options: str = "", **settings: Any) -> LLM:
    return LLM(path, backend=f"mistralrs{options}", progress=False, **settings)


@pytest.mark.parametrize("name", REFERENCE_GGUF)
def test_greedy_tokens_of_f32_weights_are_the_references(name: str) -> None:
    with opened(FIXTURES / "gguf" / f"{name}.gguf") as llm:
        completion = llm.generate(PROMPT, GREEDY)
        prompt = llm.tokenize(PROMPT)
    reference = Reference.open(FIXTURES / "models" / name)
    assert list(completion.token_ids) == reference.greedy(prompt, 24)
    assert completion.usage.completion_tokens == 24


@pytest.mark.parametrize("family", ["llama", "mistral", "qwen2"])
def test_a_folder(family: str, tmp_path: Path) -> None:
    """It reads the keys that configurations had before transformers 5."""
    tokenizer = byte_level()
    config = in_older_keys(new_config(family, vocab_size=tokenizer.get_vocab_size(), head_dim=12))
    write_folder(tmp_path, config, random_weights(config, 1))
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    with opened(tmp_path) as llm:
        told = list(llm.generate("Hello there", GREEDY).token_ids)
        prompt = llm.tokenize("Hello there")
    expected = Reference.open(tmp_path).greedy(prompt, 24)
    assert told == [token for token in expected if token in told]
    assert len(told) >= 20


def test_each_of_the_models_end_tokens_ends_an_answer(smollm2_path: Path) -> None:
    """mistral.rs knows one by itself."""
    with opened(smollm2_path, max_context=256) as llm:
        ends = llm._open.end_tokens
        assert len(ends) > 1
        for token in ends:
            params = GenerateParams(
                temperature=0.0, repetition_penalty=1.0, max_tokens=4, logit_bias={token: 100.0}
            )
            completion = llm.generate(PROMPT, params)
            assert (completion.finish_reason, completion.token_ids, completion.text) == ("stop", (), "")
            assert completion.usage.completion_tokens == 0
        # A mark that a user writes is text to our tokenizer, and would be a mark to theirs.
        with pytest.raises(ConfigError, match="takes texts, and there is none that it reads as these"):
            llm.chat("Say <|im_end|> twice.", max_tokens=2)
        # In a prompt of one's own it is one to both.
        tokens = llm.tokenize("<|im_start|>user\nHi<|im_end|>\n")
        assert llm.generate(tokens, max_tokens=1).usage.prompt_tokens == len(tokens)


def test_marks_that_it_does_not_tell_of_are_counted() -> None:
    with opened(TINY) as llm:
        [mark] = [one for one in range(4) if one not in llm._open.end_tokens and llm.token_bytes(one) == b""][
            :1
        ]
        biased = GenerateParams(
            temperature=0.0, repetition_penalty=1.0, max_tokens=4, ignore_eos=True, logit_bias={mark: 100.0}
        )
        completion = llm.generate(PROMPT, biased)
        assert completion.usage.completion_tokens == 4
        assert (completion.text, completion.finish_reason) == ("", "length")


def test_prompts_and_contexts() -> None:
    with opened(TINY, max_context=64) as llm:
        assert llm.model_info.max_context == 64
        assert llm.generate(PROMPT, ignore_eos=True, max_tokens=500).usage.total_tokens == 64
        for text in (" ", "\n\n x ", '<b> & "q" {{ x }} {% if %}', "日本語 🙂"):
            assert llm.generate(text, max_tokens=1).usage.prompt_tokens == len(llm.tokenize(text))
    with pytest.raises(ConfigError, match="max_context is 4096; mistralrs has 512 tokens at most"):
        opened(TINY, max_context=4096)


def test_in_situ_quantization_changes_the_weights() -> None:
    with opened(TINY) as plain, opened(TINY, ":in_situ_quant=Q4K") as rounded:
        assert plain.generate(PROMPT, GREEDY).token_ids != rounded.generate(PROMPT, GREEDY).token_ids


def test_kept_prefixes_are_nobodys_own() -> None:
    """So requests that want theirs for themselves are refused."""
    with opened(TINY, ":prefix_cache_n=4") as llm:
        assert llm.generate(PROMPT, GREEDY).token_ids == llm.generate(PROMPT, GREEDY).token_ids
        for wanted in ({"tenant": "one"}, {"cache_prefix": False}):
            with pytest.raises(ConfigError, match="prefix_cache_n"):
                llm.generate(PROMPT, **wanted)
    with opened(TINY) as llm:
        assert llm.generate(PROMPT, tenant="one", cache_prefix=False, max_tokens=2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (":speed=1", "has no option 'speed'; it has in_situ_quant"),
        (":max_seqs=0", "max_seqs is 0"),
        (":max_seqs=many", "max_seqs is 'many'; it must be a whole number"),
        (":paged_attn=1", "paged_attn is '1'; it must be true or false"),
        (":xlora_model_id=there", "X-LoRA needs both"),
        (":xlora_model_id=there,xlora_order=nowhere.json", "which is no file"),
    ],
)
def test_options_that_are_wrong(options: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        opened(TINY, options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (":in_situ_quant=none", "ISQ type none unknown"),
        (":paged_attn=true", "paged attention is unavailable"),
    ],
)
def test_options_that_it_refuses_itself(options: str, message: str) -> None:
    """They reach it: what it says of them is passed on."""
    with pytest.raises(InvalidModelError, match=f"mistralrs cannot load the model: {message}"):
        opened(TINY, options)


def test_its_panic_is_an_error(tmp_path: Path) -> None:
    order = tmp_path / "order.json"
    order.write_text("[]", encoding="utf-8")
    with pytest.raises(InvalidModelError, match="mistralrs cannot load the model"):
        opened(TINY, f":xlora_model_id={tmp_path},xlora_order={order}")


def test_its_threads_are_set_once() -> None:
    with (
        opened(TINY, threads=1),
        pytest.raises(ConfigError, match="mistralrs has 1 in this process, for good"),
    ):
        opened(TINY, threads=2)


THREADS = """
import sys
from ruvllm import LLM, ConfigError

def opened(threads=None, options="", path=sys.argv[1]):
    with LLM(path, backend="mistralrs" + options, threads=threads, progress=False) as llm:
        return llm.model_info.threads

try:
    opened(2, ":in_situ_quant=Q4K", sys.argv[2])
except Exception as error:
    print(type(error).__name__)
print(opened(), opened(), opened(3))
try:
    opened(1)
except ConfigError as error:
    print(error)
"""


def test_threads_that_nobody_said_are_for_good_too(tmp_path: Path) -> None:
    """A load that fails before it has any fixes nothing."""
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF")
    environment = {name: value for name, value in os.environ.items() if name != "RUVLLM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-c", THREADS, str(TINY), str(broken)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env=environment | {"RAYON_NUM_THREADS": "3"},
    )
    failed, threads, refused = done.stdout.splitlines()
    assert failed.endswith("Error")
    assert threads == "3 3 3"
    assert "threads is 1, and mistralrs has 3 in this process" in refused


@pytest.mark.real_model
def test_a_model_whose_texts_it_reads_otherwise_is_refused(gemma3_path: Path) -> None:
    """It cuts this vocabulary of pieces with scores into others than its tokenizer does."""
    with pytest.raises(InvalidModelError, match="reads texts otherwise than gemma"):
        opened(gemma3_path)


def test_what_it_says_of_an_answer_is_passed_on() -> None:
    with opened(TINY) as llm:
        engine = llm._loop._engine
        answers = engine._begin.__self__

        class Broken:
            def send_chat_completion_request(self, request: object) -> object:
                raise ValueError("out of luck\n   0: somewhere in there")

        answers._runner = Broken()
        with pytest.raises(BackendError, match=r"mistralrs: out of luck$"):
            llm.generate(PROMPT)
