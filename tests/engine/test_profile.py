"""Where the time of steps goes, on a model that computes."""

import time

import pytest

from ruvllm import LLM, GenerateParams, InvalidOperationError

GREEDY = GenerateParams(temperature=0.0, repetition_penalty=1.0, max_tokens=6, ignore_eos=True)


def test_the_operations_make_up_the_steps(tiny_gguf: LLM) -> None:
    plain = tiny_gguf.generate([5, 6, 7, 8], GREEDY)
    start = time.perf_counter()
    tiny_gguf.start_profile()
    assert tiny_gguf.generate([5, 6, 7, 8], GREEDY).token_ids == plain.token_ids
    profile = tiny_gguf.take_profile()
    assert 0 < profile.seconds < time.perf_counter() - start
    assert (profile.steps, profile.tokens) == (6, 9)
    times = {one.operation: one for one in profile.times}
    assert times["attention"].calls == 6 * tiny_gguf.model_info.num_layers
    head = times["matmul head"]
    info = tiny_gguf.model_info
    assert sum(head.operations.values()) == 6 * 2 * info.vocab_size * info.hidden_size
    assert head.weight_bytes > 0
    assert times["attention"].weight_bytes == 0


def test_nothing_is_recorded_unasked(tiny_gguf: LLM) -> None:
    with pytest.raises(InvalidOperationError, match="start_profile"):
        tiny_gguf.take_profile()
    tiny_gguf.start_profile()
    profile = tiny_gguf.take_profile()
    assert (profile.steps, profile.times) == (0, ())
