"""Filling in the middle with a real model that was trained for it."""

import pytest

from ruvllm import LLM, GenerateParams

pytestmark = [pytest.mark.slow, pytest.mark.real_model, pytest.mark.timeout(900)]

GREEDY = GenerateParams(temperature=0, top_p=1, repetition_penalty=1, max_tokens=32)


def test_what_stands_before_and_after_decides(qwen_coder: LLM) -> None:
    assert qwen_coder.can_infill
    prefix, suffix = "def add(a, b):\n    return ", "\n\n\nprint(add(1, 2))\n"
    # As the model's makers write it.
    by_hand = qwen_coder.tokenize(f"<|fim_prefix|>{prefix}<|fim_suffix|>{suffix}<|fim_middle|>")
    assert qwen_coder.infill_tokens(prefix, suffix) == by_hand
    answer = qwen_coder.infill(prefix, suffix, GREEDY)
    assert answer.text.splitlines()[0] == "a + b"
    assert answer.finish_reason == "stop"
    name = qwen_coder.infill(
        "", "(numbers):\n    return sum(numbers) / len(numbers)\n\n\nprint(mean([1, 2]))\n", GREEDY
    )
    assert name.text.startswith("def mean")


def test_other_files_are_seen(qwen_coder: LLM) -> None:
    files = [("shapes.py", "def circumference_of_circle(radius):\n    return 2 * 3.14159 * radius\n")]
    prefix = "from shapes import circumference_of_circle\n\n# The circumference for a radius of 3.\nprint("
    answer = qwen_coder.infill(prefix, ")\n", GREEDY, extra=files)
    assert answer.text.strip().startswith("circumference_of_circle(3")


def test_marks_in_a_file_are_text(qwen_coder: LLM) -> None:
    """A file about the marks themselves does not end the prefix."""
    prefix = 'MARK = "<|fim_suffix|>"\n\ndef add(a, b):\n    return '
    tokens = qwen_coder.infill_tokens(prefix, "\n")
    assert tokens.count(qwen_coder.tokenizer.token_id("<|fim_suffix|>")) == 1
    assert qwen_coder.infill(prefix, "\n\n\nprint(add(1, 2))\n", GREEDY).text.strip().startswith("a + b")
