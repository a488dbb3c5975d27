"""What is measured, the same in every benchmark and for every engine."""


def token_ids(count: int, vocab_size: int) -> list[int]:
    """Ids of ordinary tokens, spread over the vocabulary; the same ones every time."""
    first = min(1000, vocab_size // 4)
    return [first + index * 7919 % (vocab_size - first) for index in range(count)]
