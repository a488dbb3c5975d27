"""What people ask a small model first, and by which words an answer is judged.

Run it to see how a model does, with what is recommended of it or as it would be without:

    python -m tests.chat.first_questions smollm2-135m
    python -m tests.chat.first_questions smollm2-135m --plain
"""

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ruvllm import LLM, GenerateParams

__all__ = ["ASKED_BY_PAGES", "NUM_SEEDS", "OTHERS", "Rule", "num_right"]

NUM_SEEDS = 8
MAX_TOKENS = 60


@dataclass(frozen=True, slots=True)
class Rule:
    """An answer is right that has the one and not the other, whatever their capitals."""

    right: str
    wrong: str = "(?!)"

    def __call__(self, answer: str) -> bool:
        text = " ".join(answer.lower().split())
        return bool(re.search(self.right, text)) and not re.search(self.wrong, text)


ASKED_BY_PAGES: Mapping[str, Rule] = {
    "What is the capital of France?": Rule("paris", "marseil|étoile|londr|normand|lyon"),
    "And of Italy?": Rule("rome", "corio|milan|florence"),
    "What is the capital of Japan?": Rule("tokyo", "kyoto|osaka"),
    "What is the capital of Spain?": Rule("madrid", "barcelona|seville"),
    "What is the chemical formula of water?": Rule("h2o|h₂o", "hoho|nah"),
    "Who wrote Romeo and Juliet?": Rule("shakespeare"),
    "Why is the sky blue?": Rule("scatter"),
    "What is machine learning?": Rule("(?=.*(data|algorithm)).*learn"),
}
"""The second one is asked behind the first and its answer."""

_ANIMAL = "(lion|tiger|cat|dog|bear|elephant|horse|cow|fox|wolf|whale|rabbit|monkey|snake|deer|giraffe|zebra)"
_FRUIT = "apple|banana|orange|grape|pear|cherr|mango|strawberr|lemon|kumquat|peach|kiwi|melon"
OTHERS: Mapping[str, Rule] = {
    "What is the capital of Germany?": Rule("berlin"),
    "What is the capital of Egypt?": Rule("cairo"),
    "What is the capital of Australia?": Rule("canberra"),
    "Who wrote Hamlet?": Rule("shakespeare"),
    "Who painted the Mona Lisa?": Rule("leonardo|da vinci"),
    "Who was the first president of the United States?": Rule("washington"),
    "Who discovered penicillin?": Rule("fleming"),
    "Which language is spoken in Brazil?": Rule("portuguese"),
    "What is the largest ocean?": Rule("pacific"),
    "What is the chemical symbol of gold?": Rule(r"\bau\b"),
    "At what temperature does water boil?": Rule("100|212"),
    "How many legs does a spider have?": Rule(r"\b8\b|eight"),
    "How many minutes are in an hour?": Rule(r"\b60\b|sixty"),
    "What is 7 times 8?": Rule(r"\b56\b"),
    "What is 17 times 23?": Rule(r"\b391\b"),
    "What is the square root of 81?": Rule(r"\b9\b|nine"),
    "What is the opposite of big?": Rule("small|little|tiny"),
    "What is the plural of mouse?": Rule(r"\bmice\b"),
    "Translate 'good morning' into French.": Rule("bonjour"),
    "What colour is the sky?": Rule("blue"),
    "Name a fruit.": Rule(_FRUIT),
    "Name three animals.": Rule(f"{_ANIMAL}.*{_ANIMAL}.*{_ANIMAL}"),
}
"""Not what the recommendation was chosen by."""


def num_right(
    llm: LLM, asked: Mapping[str, Rule], params: GenerateParams | None = None, *, plain: bool = False
) -> dict[str, int]:
    """How many of the seeds are answered rightly, by question; `plain` asks without what is recommended."""
    sampling = {} if plain else llm.recommended.sampling
    params = params or GenerateParams(max_tokens=MAX_TOKENS, **sampling)
    seeds = [replace(params, seed=seed) for seed in range(NUM_SEEDS)]
    questions = [question for question in asked for _ in seeds]
    conversations = [[{"role": "user", "content": question}] for question in questions]
    answers = llm.chat(conversations if plain else questions, seeds * len(asked))
    right = dict.fromkeys(asked, 0)
    for question, answer in zip(questions, answers, strict=True):
        right[question] += asked[question](answer.text)
    return right


def main(arguments: Sequence[str]) -> None:
    """Print how a model does."""
    model, *flags = arguments
    with LLM(model) as llm:
        for asked in (ASKED_BY_PAGES, OTHERS):
            standing_alone = {question: rule for question, rule in asked.items() if "And of" not in question}
            right = num_right(llm, standing_alone, plain="--plain" in flags)
            for question, number in right.items():
                print(f"{number} of {NUM_SEEDS}  {question}")
            print(f"{sum(right.values())} of {NUM_SEEDS * len(right)} in all")


if __name__ == "__main__":
    main(sys.argv[1:])
