"""A stream of requests to learn from: one-line reviews that want an answer of one word, and the rule for it.

All of it is written here. A held-out review shares neither its sentence nor its judging word with any review
of the stream, so what is measured there is not what was learned by heart.
"""

import random
from dataclasses import dataclass

__all__ = ["REPLY", "VERDICT", "Question", "Review", "held_out", "stream"]

SENSES = ("good", "bad")
# What the wrong one of the two answers is worth: it is of the form that was asked for.
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
    """A review, and whether it is good or bad."""

    text: str
    sense: str


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of each review, and the right answers.

    Attributes:
        name: What stands before an answer.
        good: The answer to a good review.
        bad: The answer to a bad one.
    """

    name: str
    good: str
    bad: str

    def prompt(self, review: Review) -> str:
        """What the model is to continue; both answers have an example in it."""
        return (
            f"Review: The bus was late again.\n{self.name}: {self.bad}\n"
            f"Review: The weather was fine all week.\n{self.name}: {self.good}\n"
            f"Review: {review.text}\n{self.name}:"
        )

    def is_right(self, review: Review, answer: str) -> bool:
        """Whether the answer is the right word, and nothing else."""
        return answer.strip() == (self.good if review.sense == "good" else self.bad)

    def feedback(self, review: Review, answer: str) -> float:
        """The rule: 1 for the right word, 0.3 for the other one, 0 for everything else."""
        if self.is_right(review, answer):
            return 1.0
        return OF_THE_FORM if answer.strip() in (self.good, self.bad) else 0.0


# The small models know which words are kind, but do not always answer by one of the two; Gemma mostly gives
# verdicts as it should, so that it has little to learn there.
VERDICT = Question("Verdict", good="good", bad="bad")
REPLY = Question("Reply", good="thanks", bad="sorry")


def stream(num_requests: int, seed: int) -> list[Review]:
    """So many different reviews to learn from, in an order of the seed's."""
    return random.Random(seed).sample(_all(SENTENCES, WORDS), num_requests)


def held_out() -> list[Review]:
    """All reviews that are never learned from: 64, half of them good."""
    return _all(HELD_OUT_SENTENCES, HELD_OUT_WORDS)


def _all(sentences: tuple[str, ...], words: dict[str, list[str]]) -> list[Review]:
    return [
        Review(sentence.format(word), sense)
        for sense in SENSES
        for word in words[sense]
        for sentence in sentences
    ]
