"""What a teacher says in each place, beside the softmax of its logits."""

import numpy as np
import pytest

from ruvllm import LLM, TrainingConfig
from ruvllm.training import TrainableModel, TrainingObjective
from ruvllm.training.encoding import Example
from ruvllm.training.teacher import taught
from tests.conftest import FIXTURES

MODEL = FIXTURES / "gguf" / "llama-gqa.gguf"
TOKENS = [5, 17, 42, 9, 101, 33, 8]
TOP = 6


@pytest.mark.parametrize("share", [1.0, 0.25])
def test_its_likeliest_tokens_count_by_their_probabilities(share: float) -> None:
    config = TrainingConfig(
        objective=TrainingObjective.Distill, teacher=str(MODEL), teacher_top=TOP, teacher_share=share
    )
    plain = Example.of(TOKENS, [False, False, False, True, True, False, True])
    with LLM(MODEL) as llm:
        logits = llm.logits(TOKENS[:-1]).astype(np.float64)
        [found] = taught([plain], TrainableModel.of(llm), config)
    assert found.ids.shape == found.shares.shape == (6, 1 + TOP)
    assert found.answer_tokens == 3
    for place, is_answer in enumerate([False, False, True, True, False, True]):
        if not is_answer:
            assert not found.shares[place].any()
            continue
        likeliest = np.argsort(-logits[place])[:TOP]
        weights = np.exp(logits[place][likeliest])
        assert found.ids[place].tolist() == [TOKENS[place + 1], *likeliest.tolist()]
        expected = [1 - share, *(share * weights / weights.sum())]
        assert found.shares[place] == pytest.approx(expected, rel=1e-3, abs=1e-6)
