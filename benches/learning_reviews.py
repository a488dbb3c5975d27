"""A stream of requests to learn from: one-line reviews that want a verdict, and the rule that judges answers.

All of it is written here. A held-out review shares neither its sentence nor its judging word with any review
of the stream, so what is measured there is not what was learned by heart.
"""

import random
from dataclasses import dataclass

__all__ = ["Review", "feedback", "held_out", "is_right", "prompt", "stream"]

# Both examples are in the prompt of each request; the small models know which words are kind, but do not
# always answer by one of the two.
EXAMPLES = (
    "Review: The bus was late again.\nVerdict: bad\nReview: The weather was fine all week.\nVerdict: good\n"
)
VERDICTS = ("good", "bad")
# What the wrong one of the two verdicts is worth: it is of the form that was asked for.
OF_THE_FORM = 0.3

SENTENCES = (
    "The food at the harbour was {}.",
    "We found the room {}.",
    "The evening in the old theatre was {}.",
    "My new phone is {}.",
    "The service in this shop was {}, and I told my friends.",
    "I thought the film was {}.",
    "The second half of the book is {}.",
    "Our guide was {}.",
)
WORDS = {
    "good": [
        "wonderful", "delightful", "superb", "charming", "brilliant", "lovely", "excellent", "splendid",
        "fantastic", "perfect", "cheerful", "comfortable", "gorgeous", "amazing", "pleasant",
        "beautiful",
    ],
    "bad": [
        "awful", "dreadful", "terrible", "boring", "horrible", "nasty", "dirty", "broken", "disgusting",
        "miserable", "useless", "cold", "disappointing", "dull", "ugly", "shabby",
    ],
}  # fmt: skip
HELD_OUT_SENTENCES = (
    "The concert on Sunday was {}.",
    "Everything about this hotel is {}.",
    "The new museum is {}.",
    "I must say that the game was {}.",
)
HELD_OUT_WORDS = {
    "good": [
        "marvellous", "magnificent", "impressive", "exceptional", "great", "outstanding", "enjoyable",
        "terrific",
    ],
    "bad": [
        "poor", "dismal", "appalling", "pathetic", "gloomy", "annoying", "unpleasant", "ghastly",
    ],
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Review:
    """A review, and what its verdict must be."""

    text: str
    verdict: str


def stream(num_requests: int, seed: int) -> list[Review]:
    """So many different reviews to learn from, in an order of the seed's."""
    return random.Random(seed).sample(_all(SENTENCES, WORDS), num_requests)


def held_out() -> list[Review]:
    """All reviews that are never learned from: 64, half of them good."""
    return _all(HELD_OUT_SENTENCES, HELD_OUT_WORDS)


def prompt(review: Review) -> str:
    """What the model is to continue."""
    return f"{EXAMPLES}Review: {review.text}\nVerdict:"


def is_right(review: Review, answer: str) -> bool:
    """Whether the answer is the verdict, and nothing else."""
    return answer.strip() == review.verdict


def feedback(review: Review, answer: str) -> float:
    """The rule: 1 for the verdict, 0.3 for the other one, 0 for everything else."""
    if is_right(review, answer):
        return 1.0
    return OF_THE_FORM if answer.strip() in VERDICTS else 0.0


def _all(sentences: tuple[str, ...], words: dict[str, list[str]]) -> list[Review]:
    return [
        Review(sentence.format(word), verdict)
        for verdict in VERDICTS
        for word in words[verdict]
        for sentence in sentences
    ]
