"""`LLM` over the real engine: prompts, answers, streams, limits. The models are tiny; the text is real."""

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ruvllm import (
    LLM,
    Chunk,
    Completion,
    ConfigError,
    ContextLengthError,
    DeviceType,
    GenerateParams,
    InvalidOperationError,
    KvCacheConfig,
    ModelConfig,
    ModelError,
    NotFoundError,
    OutOfMemoryError,
    Precision,
    TokenizationError,
)
from tests.conftest import FIXTURES
from tests.support.by_hand import likeliest_tokens

GGUF = FIXTURES / "gguf" / "llama-gqa.gguf"
FOLDER = FIXTURES / "models" / "llama-gqa"
GREEDY = GenerateParams(temperature=0.0, repetition_penalty=1.0, max_tokens=12, ignore_eos=True)
PROMPT = "The terms of this license"


def join(chunks: list[Chunk]) -> str:
    return "".join(chunk.text for chunk in chunks)


# -- prompts and answers


def test_text_and_its_tokens_are_the_same_prompt(tiny_gguf: LLM) -> None:
    completion = tiny_gguf.generate(PROMPT, GREEDY)
    assert isinstance(completion, Completion)
    assert tiny_gguf.generate(tiny_gguf.tokenize(PROMPT), GREEDY).token_ids == completion.token_ids
    assert tiny_gguf.generate(np.array(tiny_gguf.tokenize(PROMPT)), GREEDY).text == completion.text
    assert len(completion.token_ids) == 12
    assert completion.text


def test_a_list_of_prompts(tiny_gguf: LLM) -> None:
    prompts = [PROMPT, "you", "a copy of the"]
    answers = tiny_gguf.generate(prompts, GREEDY)
    assert [answer.text for answer in answers] == [tiny_gguf.generate(one, GREEDY).text for one in prompts]
    tokens = [tiny_gguf.tokenize(one) for one in prompts]
    assert [answer.text for answer in tiny_gguf.generate(tokens, GREEDY)] == [one.text for one in answers]


def test_a_stream_is_the_completion(tiny_gguf: LLM) -> None:
    completion = tiny_gguf.generate(PROMPT, GREEDY)
    chunks = list(tiny_gguf.stream(PROMPT, GREEDY))
    assert completion.token_ids == likeliest_tokens(tiny_gguf, tiny_gguf.tokenize(PROMPT), 12)
    assert completion.text == tiny_gguf.detokenize(completion.token_ids)
    assert join(chunks) == completion.text
    assert tuple(token for chunk in chunks for token in chunk.token_ids) == completion.token_ids
    assert chunks[-1].finish_reason == completion.finish_reason
    # How many guesses were computed depends on what steps took.
    counted = [one.usage for one in (chunks[-1], completion) if one.usage is not None]
    streamed, whole = (replace(usage, drafted_tokens=0, accepted_tokens=0) for usage in counted)
    assert streamed == whole
    assert all(chunk.finish_reason is None for chunk in chunks[:-1])


async def test_an_async_stream_is_the_completion(tiny_gguf: LLM) -> None:
    chunks = [chunk async for chunk in tiny_gguf.astream(PROMPT, GREEDY)]
    assert join(chunks) == tiny_gguf.generate(PROMPT, GREEDY).text


def test_the_text_is_that_of_the_tokens(tiny_gguf: LLM) -> None:
    completion = tiny_gguf.generate(PROMPT, GREEDY)
    assert completion.text == tiny_gguf.detokenize(completion.token_ids, skip_special=True)


def test_usage_and_timings(tiny_gguf: LLM) -> None:
    completion = tiny_gguf.generate(PROMPT, GREEDY)
    assert completion.usage.prompt_tokens == len(tiny_gguf.tokenize(PROMPT))
    assert completion.usage.completion_tokens == 12
    assert completion.usage.cached_tokens == 0
    assert 0 < completion.timings.first_token_seconds <= completion.timings.total_seconds < 5
    assert completion.timings.prefill_tokens_per_second > 0


def test_threads_share_the_engine(tiny_gguf: LLM) -> None:
    prompts = [PROMPT[:length] for length in range(1, len(PROMPT))]
    expected = [tiny_gguf.generate(prompt, GREEDY).token_ids for prompt in prompts]
    found: dict[int, Any] = {}

    def ask(index: int) -> None:
        found[index] = tiny_gguf.generate(prompts[index], GREEDY).token_ids

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(len(prompts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[index] for index in range(len(prompts))] == expected


# -- how answers end


def test_stop_sequences(tiny_gguf: LLM) -> None:
    whole = tiny_gguf.generate(PROMPT, GREEDY).text
    assert len(whole) > 6
    for begin, end in ((2, 4), (1, 5), (3, 4)):
        stop = whole[begin:end]
        params = GenerateParams(
            temperature=0.0, repetition_penalty=1.0, max_tokens=12, ignore_eos=True, stop_sequences=[stop]
        )
        completion = tiny_gguf.generate(PROMPT, params)
        assert completion.text == whole[: whole.index(stop)]
        assert completion.finish_reason == "stop"
        assert join(list(tiny_gguf.stream(PROMPT, params))) == completion.text


def test_stop_sequences_across_tokens(tiny_gguf: LLM) -> None:
    completion = tiny_gguf.generate(PROMPT, GREEDY)
    pieces = [chunk.text for chunk in tiny_gguf.stream(PROMPT, GREEDY) if chunk.text]
    # The end of one token's text and the beginning of the next.
    stop = pieces[1][-1] + pieces[2][:1]
    params = GenerateParams(temperature=0.0, repetition_penalty=1.0, max_tokens=12, stop_sequences=[stop])
    assert tiny_gguf.generate(PROMPT, params).text == completion.text[: completion.text.index(stop)]


def test_a_stop_sequence_that_only_begins_is_shown(tiny_gguf: LLM) -> None:
    whole = tiny_gguf.generate(PROMPT, GREEDY).text
    params = GenerateParams(
        temperature=0.0,
        repetition_penalty=1.0,
        max_tokens=12,
        ignore_eos=True,
        stop_sequences=[whole[-2:] + "and no such text"],
    )
    assert tiny_gguf.generate(PROMPT, params).text == whole


def test_the_context_ends_the_answer() -> None:
    with LLM(GGUF, max_context=32) as llm:
        prompt = [5] * 20
        completion = llm.generate(prompt, GenerateParams(max_tokens=1000, ignore_eos=True, seed=1))
        assert completion.finish_reason == "length"
        assert completion.usage.completion_tokens == 12


def test_a_prompt_that_is_too_long() -> None:
    with LLM(GGUF, max_context=32) as llm:
        with pytest.raises(ContextLengthError, match="has 32 tokens and needs room for one more"):
            llm.generate([5] * 32)
        with pytest.raises(ContextLengthError, match="has 33 tokens, but the context holds 32") as caught:
            llm.logits([5] * 33)
        assert (caught.value.prompt_tokens, caught.value.max_context) == (33, 32)
        assert llm.logits([5] * 32).shape == (32, 320)
        with pytest.raises(ContextLengthError):
            llm.stream([5] * 40)


# -- choosing tokens


def test_the_same_seed_gives_the_same_answer(tiny_gguf: LLM) -> None:
    def ask(seed: int | None) -> tuple[int, ...]:
        params = GenerateParams(temperature=1.0, top_p=1.0, max_tokens=20, seed=seed, ignore_eos=True)
        return tiny_gguf.generate(PROMPT, params).token_ids

    assert ask(7) == ask(7)
    assert ask(7) != ask(8)
    assert len({ask(None) for _ in range(4)}) > 1


def test_a_seed_gives_the_same_answer_in_a_crowd(tiny_gguf: LLM) -> None:
    params = GenerateParams(temperature=1.0, max_tokens=20, seed=3, ignore_eos=True)
    alone = tiny_gguf.generate(PROMPT, params).token_ids
    crowd = tiny_gguf.generate([PROMPT, "you", PROMPT, "a"], params)
    assert crowd[0].token_ids == crowd[2].token_ids == alone


def test_logprobs(tiny_gguf: LLM) -> None:
    params = GenerateParams(
        temperature=0.0, repetition_penalty=1.3, max_tokens=8, logprobs=5, ignore_eos=True
    )
    completion = tiny_gguf.generate(PROMPT, params)
    assert completion.logprobs is not None
    assert [entry.token_id for entry in completion.logprobs] == list(completion.token_ids)
    prompt = tiny_gguf.tokenize(PROMPT)
    logits = tiny_gguf.logits([*prompt, *completion.token_ids])[len(prompt) - 1 : -1].astype(np.float64)
    expected = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    for entry, row in zip(completion.logprobs, expected, strict=True):
        assert entry.logprob == pytest.approx(row[entry.token_id], abs=1e-3)
        assert [token for token, _ in entry.top_logprobs] == list(np.argsort(-row)[:5])
        for token, logprob in entry.top_logprobs:
            assert logprob == pytest.approx(row[token], abs=1e-3)


def test_logprobs_of_the_chosen_alone(tiny_gguf: LLM) -> None:
    completion = tiny_gguf.generate(PROMPT, GenerateParams(max_tokens=3, logprobs=0, ignore_eos=True))
    assert completion.logprobs is not None
    assert [entry.top_logprobs for entry in completion.logprobs] == [(), (), ()]
    assert tiny_gguf.generate(PROMPT, GREEDY).logprobs is None


def test_logit_bias(tiny_gguf: LLM) -> None:
    params = GenerateParams(temperature=0.0, max_tokens=3, logit_bias={77: 100.0}, ignore_eos=True)
    assert tiny_gguf.generate(PROMPT, params).token_ids[0] == 77
    with pytest.raises(ConfigError, match="logit_bias names token 5000"):
        tiny_gguf.generate(PROMPT, GenerateParams(logit_bias={5000: 1.0}))


def test_an_end_token_ends_and_is_not_shown(tiny_gguf: LLM) -> None:
    end = tiny_gguf.tokenizer.eos_token  # type: ignore[union-attr]
    assert end is not None
    ends = GenerateParams(temperature=0.0, max_tokens=5, logit_bias={end: 100.0})
    completion = tiny_gguf.generate(PROMPT, ends)
    assert (completion.text, completion.token_ids, completion.finish_reason) == ("", (), "stop")
    goes_on = GenerateParams(temperature=0.0, max_tokens=5, logit_bias={end: 100.0}, ignore_eos=True)
    assert tiny_gguf.generate(PROMPT, goes_on).finish_reason == "length"


# -- numbers


def test_scores_are_those_of_the_logits(tiny_gguf: LLM) -> None:
    ids = tiny_gguf.tokenize("You may copy and distribute verbatim copies of this license document")
    logits = tiny_gguf.logits(ids).astype(np.float64)
    log_probabilities = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    expected = -log_probabilities[np.arange(len(ids) - 1), ids[1:]]
    scores = tiny_gguf.score(ids)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, expected, atol=1e-4)


def test_embeddings(tiny_gguf: LLM) -> None:
    one = tiny_gguf.embed(PROMPT)
    many = tiny_gguf.embed([PROMPT, "you", tiny_gguf.tokenize(PROMPT)])  # type: ignore[list-item]
    assert one.shape == (64,)
    assert many.shape == (3, 64)
    np.testing.assert_allclose(np.linalg.norm(many, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(many[0], one, atol=1e-6)
    np.testing.assert_allclose(many[2], one, atol=1e-6)
    assert abs(float(many[1] @ one)) < 0.999


def test_nothing_is_scored_by_one_token(tiny_gguf: LLM) -> None:
    with pytest.raises(ConfigError, match="scoring needs at least 2"):
        tiny_gguf.score([5])
    with pytest.raises(ConfigError, match="must be a list of token ids"):
        tiny_gguf.token_logprobs("a text")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="top_logprobs is 21; it must be an integer from 0 to 20"):
        tiny_gguf.token_logprobs([5, 6], top_logprobs=21)


# -- text


def test_tokenize_and_back(tiny_gguf: LLM) -> None:
    text = "the copyright of naïve café 日本語 🙂"
    assert tiny_gguf.detokenize(tiny_gguf.tokenize(text)) == text
    special = tiny_gguf.tokenize("a</s>b")
    assert 2 in special
    plain = tiny_gguf.tokenize("a</s>b", parse_special=False)
    assert 2 not in plain
    assert tiny_gguf.detokenize(plain) == "a</s>b"
    assert tiny_gguf.detokenize(special, skip_special=True) == "ab"


def test_add_bos(tiny_gguf: LLM) -> None:
    assert tiny_gguf.tokenize("a", add_bos=True)[0] == 1
    assert tiny_gguf.tokenize("a", add_bos=True)[1:] == tiny_gguf.tokenize("a", add_bos=False)


def test_a_model_without_a_chat_template(tiny_gguf: LLM) -> None:
    with pytest.raises(TokenizationError, match="has no chat template, and none of the built-in ones fits"):
        tiny_gguf.chat("Hi")


def test_a_folder_without_a_tokenizer(tiny_folder: LLM) -> None:
    completion = tiny_folder.generate([5, 6, 7], GREEDY)
    assert len(completion.token_ids) == 12
    assert completion.text == ""
    assert tiny_folder.tokenizer is None
    assert tiny_folder.logits([5, 6]).shape == (2, 320)
    calls: list[Any] = [
        lambda: tiny_folder.generate("Hi"),
        lambda: tiny_folder.generate([5], GenerateParams(stop_sequences=["a"])),
        lambda: tiny_folder.chat("Hi"),
        lambda: tiny_folder.stream("Hi"),
        lambda: tiny_folder.tokenize("Hi"),
        lambda: tiny_folder.detokenize([5]),
        lambda: tiny_folder.apply_chat_template("Hi"),
        lambda: tiny_folder.embed("Hi"),
    ]
    for call in calls:
        with pytest.raises(TokenizationError, match=r"has no tokenizer\.json, so text cannot be used"):
            call()


def test_a_folder_with_a_tokenizer(tmp_path: Path) -> None:
    from tests.support import tiny_tokenizers

    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).symlink_to(FOLDER / name)
    tokenizer = tiny_tokenizers.byte_level()
    config = {
        "eos_token": "<|im_end|>",
        "chat_template": "{% for m in messages %}{{ m.content }}{% endfor %}",
    }
    tiny_tokenizers.write_folder(tmp_path, tokenizer, config)
    with LLM(tmp_path, activations="f32") as llm:
        ids = [token for token in llm.tokenize("Hello") if token < 320]
        assert ids
        params = GenerateParams(temperature=0.0, max_tokens=10, ignore_eos=True)
        completion = llm.generate(ids, params)
        pieces = llm.tokenizer.pieces()  # type: ignore[union-attr]
        special = llm.tokenizer.special_ids  # type: ignore[union-attr]
        shown = b"".join(pieces[token] for token in completion.token_ids if token not in special)
        assert completion.text == shown.decode("utf-8", "replace")
        assert llm.apply_chat_template("Hello") == "Hello"


# -- arguments


@pytest.mark.parametrize(
    ("prompt", "error", "words"),
    [
        ("", ConfigError, "the prompt is empty"),
        (np.array([], dtype=np.int64), ConfigError, "the prompt is empty"),
        ([5, -1], ConfigError, r"token_ids\[1\] is -1; it must be from 0 to 319"),
        ([5, 320], ConfigError, r"token_ids\[1\] is 320"),
        ([5, 1.5], ConfigError, r"token_ids\[1\] is 1.5"),
        ([5, "a"], ConfigError, r"token_ids\[1\] is 'a'"),
        (["a", [5, 400]], ConfigError, r"token_ids\[1\] is 400"),
        (None, ConfigError, "the prompt is a NoneType"),
        (5, ConfigError, "the prompt is a int"),
        (np.array([1.5]), ConfigError, r"token_ids is a float64"),
    ],
)
def test_prompts_that_are_refused(tiny_gguf: LLM, prompt: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        tiny_gguf.generate(prompt)


def test_params_of_another_type(tiny_gguf: LLM) -> None:
    with pytest.raises(ConfigError, match="params is a dict; it must be GenerateParams"):
        tiny_gguf.generate("a", {"max_tokens": 5})  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"threads": 0}, ConfigError, "threads is 0"),
        ({"activations": "int4"}, ConfigError, "activations is 'int4'; it must be one of auto, f32"),
        (
            {"kv_format": "q5"},
            ConfigError,
            "kv_format is 'q5'; it must be one of auto, int16, f32, int8, k8v4, q4, q3",
        ),
        ({"max_context": 0}, ConfigError, "max_context is 0"),
        ({"max_context": 513}, ConfigError, "max_context is 513; this model was made for 512 tokens"),
        ({"kv_cache_bytes": 10}, OutOfMemoryError, "10 bytes holds 0 tokens"),
        ({"isa": "sse9"}, ConfigError, "sse9"),
        ({"config": ModelConfig(use_flash_attention=False)}, ConfigError, "use_flash_attention is False"),
        (
            {"config": ModelConfig(kv_cache_config=KvCacheConfig(tail_precision=Precision.BF16))},
            ConfigError,
            "a tail in BF16",
        ),
    ],
)
def test_settings_that_are_refused(settings: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        LLM(GGUF, **settings)


def test_models_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        LLM(tmp_path / "missing.gguf")
    (tmp_path / "broken.gguf").write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(ModelError):
        LLM(tmp_path / "broken.gguf")


def test_settings_reach_the_engine() -> None:
    cache = KvCacheConfig(
        tail_precision=Precision.FP32, store_precision=Precision.FP32, max_tokens=300, tail_length=16
    )
    with LLM(GGUF, config=ModelConfig(max_context=4096, kv_cache_config=cache)) as llm:
        assert llm.model_info.max_context == 300
        assert llm.model_info.model_max_context == 512
    with LLM(GGUF, config=ModelConfig(max_context=4096)) as llm:
        assert llm.model_info.max_context == 512
    with LLM(GGUF, config=ModelConfig(max_context=100), max_context=50, threads=1) as llm:
        assert llm.model_info.max_context == 50
        assert llm.model_info.threads == 1


def test_progress() -> None:
    calls: list[tuple[int, int]] = []
    with LLM(GGUF, progress=lambda done, total: calls.append((done, total))):
        pass
    assert calls
    assert calls[-1][0] == calls[-1][1]
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)


# -- what it is, and its end


def test_info(tiny_gguf: LLM) -> None:
    info = tiny_gguf.model_info
    assert (info.architecture, info.quantization, info.name) == ("llama", "F32", "Llama Gqa")
    assert (info.vocab_size, info.hidden_size, info.num_layers) == (320, 64, 3)
    assert (info.num_heads, info.num_kv_heads, info.head_dim) == (4, 2, 16)
    assert info.file_bytes == GGUF.stat().st_size
    assert info.device == DeviceType.Cpu
    assert info.path == GGUF
    assert info.size.name == "Tiny"
    assert info.threads >= 1


def test_memory(tiny_gguf: LLM) -> None:
    stats = tiny_gguf.memory_stats()
    assert stats.weight_bytes == tiny_gguf.model_info.weight_bytes > 0
    assert 0 <= stats.kv_used_bytes <= stats.kv_total_bytes
    assert stats.running_requests == stats.waiting_requests == 0
    assert stats.resident_bytes <= stats.peak_resident_bytes or stats.peak_resident_bytes == 0
    params = GenerateParams(max_tokens=300, ignore_eos=True)
    streams = [tiny_gguf.stream([5] * 200, params) for _ in range(40)]
    used = running = 0
    while (stats := tiny_gguf.memory_stats()).running_requests + stats.waiting_requests:
        used, running = max(used, stats.kv_used_bytes), max(running, stats.running_requests)
    assert 0 < used <= stats.kv_total_bytes
    assert running >= 1
    assert all(stream.completion().finish_reason == "length" for stream in streams)


def test_closing() -> None:
    llm = LLM(GGUF)
    # More than the engine can finish in the meantime.
    streams = [llm.stream([5], GenerateParams(max_tokens=500, ignore_eos=True)) for _ in range(100)]
    llm.close()
    llm.close()
    with pytest.raises(InvalidOperationError, match="closed before the request was done"):
        [stream.completion() for stream in streams]
    with pytest.raises(InvalidOperationError, match="the model is closed"):
        llm.generate([5])
    assert llm.tokenize("a")  # needs no engine
    assert repr(llm).startswith("LLM(")


def test_forgetting_a_model_ends_its_threads() -> None:
    def names() -> list[str]:
        return [thread.name for thread in threading.enumerate() if thread.name.startswith("ruvllm-")]

    before = len(names())
    llm = LLM(GGUF)
    assert llm.generate([5], GREEDY).token_ids
    assert len(names()) == before + 2
    del llm
    assert len(names()) == before
