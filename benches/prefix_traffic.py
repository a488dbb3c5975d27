"""Prompts that share beginnings, as a server of chats over documents sees them; the same ones every time."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

VOCABULARY = 128_000
SYSTEM_PROMPTS, DOCUMENTS, CHATS = 20, 50, 10
SYSTEM_TOKENS, DOCUMENT_TOKENS = 512, 1024
QUERY_TOKENS = 4096

Prompt = NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Traffic:
    """10 000 known prompts, queries that go on from them, and new ones to insert."""

    known: list[Prompt]
    queries: list[Prompt]
    fresh: list[Prompt]


def make(num_queries: int, seed: int = 1) -> Traffic:
    """Each prompt is one of 20 system prompts, one of its 50 documents, and a chat of 64 to 2560 tokens.

    A query of 4096 tokens goes on from a known prompt; a fresh prompt is another chat of 4096 in all over
    a known document.
    """
    random = np.random.default_rng(seed)

    def tokens(size: int) -> Prompt:
        return random.integers(0, VOCABULARY, size, np.uint32)

    known, fresh = [], []
    for _ in range(SYSTEM_PROMPTS):
        system = tokens(SYSTEM_TOKENS)
        for _ in range(DOCUMENTS):
            context = np.concatenate([system, tokens(DOCUMENT_TOKENS)])
            known += [np.concatenate([context, tokens(random.integers(64, 2561))]) for _ in range(CHATS)]
            fresh.append(np.concatenate([context, tokens(QUERY_TOKENS - len(context))]))
    chosen = [known[index] for index in random.integers(0, len(known), num_queries)]
    queries = [np.concatenate([prompt, tokens(QUERY_TOKENS - len(prompt))]) for prompt in chosen]
    return Traffic(known, queries, [fresh[index] for index in random.permutation(len(fresh))])
