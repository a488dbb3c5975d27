"""What a larger model would have said in each place: its likeliest tokens, asked once before training.

It need not be in memory together with the activations of training, and is gone before training begins.
"""

import numpy as np

from ruvllm.engine_settings import EngineSettings
from ruvllm.errors import TrainingError
from ruvllm.runtime.configuration import resolve_model, settings_from
from ruvllm.runtime.evaluations import Evaluations
from ruvllm.runtime.open_model import OpenModel
from ruvllm.runtime.opening import open_model
from ruvllm.runtime.request import Terms
from ruvllm.text.tokenizer import Tokenizer
from ruvllm.training.base import TrainableModel
from ruvllm.training.config import TrainingConfig
from ruvllm.training.encoding import Example

__all__ = ["taught"]


def taught(examples: list[Example], model: TrainableModel, config: TrainingConfig) -> list[Example]:
    """The same examples with a teacher's tokens in place of the one that stands there, or beside it."""
    if config.teacher is None:
        raise TrainingError("there is no teacher")
    teacher = open_model(resolve_model(config.teacher, None), settings_from(None, EngineSettings()))
    try:
        _check_same_words(model.text.required_tokenizer(), teacher)
        asked = Evaluations(teacher, list)
        return [_one(example, asked, config, model.native.vocab_size) for example in examples]
    finally:
        teacher.loop.close()


def _one(example: Example, teacher: Evaluations, config: TrainingConfig, vocab_size: int) -> Example:
    """In each place first the token that stands there, then the teacher's that the model has."""
    told = teacher.token_logprobs(example.whole, config.teacher_top, Terms()).wait()
    ids = np.repeat(example.ids, 1 + config.teacher_top, axis=1)
    shares = np.zeros(ids.shape)
    for place, one in enumerate(told):
        for rank, (token, log_prob) in enumerate(one.top_logprobs, start=1):
            if token < vocab_size:
                ids[place, rank], shares[place, rank] = token, np.exp(log_prob)
    shares *= config.teacher_share / np.maximum(shares.sum(axis=1, keepdims=True), np.finfo(np.float32).tiny)
    shares[:, 0] = 1 - shares.sum(axis=1)
    return Example(
        tokens=example.tokens,
        ids=ids,
        shares=(shares * example.shares).astype(np.float32),
        answer_tokens=example.answer_tokens,
    )


def _check_same_words(own: Tokenizer, teacher: OpenModel) -> None:
    """A teacher's tokens must be the learner's: the same numbers for the same texts."""
    other = teacher.text.tokenizer
    if other is None:
        raise TrainingError(f"the teacher {teacher.path} has no tokenizer, so its tokens cannot be compared")
    count = min(own.vocab_size, other.vocab_size)
    for token in range(count):
        if own.token_text(token) != other.token_text(token):
            raise TrainingError(
                f"the teacher has other tokens: {token} is {other.token_text(token)!r} to it and "
                f"{own.token_text(token)!r} to the model; take one of the same family"
            )
