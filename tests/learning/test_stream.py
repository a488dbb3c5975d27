"""A stream with feedback from a rule ends with more right answers; with the feedback shuffled it does not."""

from statistics import fmean

import pytest

from benches import learning_curve
from benches.learning_reviews import HELD_OUT_WORDS, REPLY, VERDICT, held_out, stream
from benches.learning_stream import run_pair
from ruvllm import LLM


def test_the_rule_and_what_is_held_out() -> None:
    asked, held = stream(200, seed=0), held_out()
    assert len({review.text for review in asked}) == 200
    assert not {review.text for review in asked} & {review.text for review in held}
    words = {word for several in HELD_OUT_WORDS.values() for word in several}
    assert not words & {word for review in asked for word in review.text.rstrip(".").split()}
    review = next(review for review in held if review.sense == "good")
    for question, answers in (
        (VERDICT, (" good", " bad", " good news")),
        (REPLY, (" thanks", " sorry", " good")),
    ):
        assert [question.feedback(review, text) for text in (*answers, "")] == [1.0, 0.3, 0.0, 0.0]


@pytest.mark.slow
@pytest.mark.real_model
@pytest.mark.timeout(300)
def test_a_short_stream_learns_from_the_rule_and_not_from_shuffled_feedback(smollm2: LLM) -> None:
    pairs = [run_pair(smollm2, VERDICT, seed, num_requests=100, every=50) for seed in (200, 201)]
    # Single measurements swing: all after the first count.
    learned = fmean(fmean(pair.real.held_out[1:]) for pair in pairs)
    control = fmean(fmean(pair.shuffled.held_out[1:]) for pair in pairs)
    assert learned > control + 0.25
    for pair in pairs:
        assert sorted(pair.real.feedback) == sorted(pair.shuffled.feedback)
        assert pair.real.held_out[0] == pair.shuffled.held_out[0]
    drawn = [fmean(pair.real.answered[50:]) - fmean(pair.shuffled.answered[50:]) for pair in pairs]
    assert fmean(drawn) > 0.15


@pytest.mark.slow
@pytest.mark.real_model
@pytest.mark.timeout(900)
def test_whole_streams_keep_the_marks(smollm2: LLM) -> None:
    pairs = [run_pair(smollm2, VERDICT, learning_curve.FIRST_SEED + seed) for seed in range(8)]
    assert learning_curve.report("smollm2-135m", pairs)
