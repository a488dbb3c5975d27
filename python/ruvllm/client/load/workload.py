"""What a load asks for, and when: everything is drawn before the clock runs, from one seed."""

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ruvllm._checks import Interval, check_integer, check_number
from ruvllm.client.load.words import WordSupply
from ruvllm.client.server_client import chat_request
from ruvllm.errors import ConfigError

__all__ = ["PlannedRequest", "Workload", "arrival_seconds"]

_SHARE = Interval(0, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Requests of a load.

    Attributes:
        requests: How many.
        prompt_tokens: Tokens of each one's own text; the chat template adds some.
        shared_prefix_tokens: Tokens of a system prompt that all have; 0 leaves it out.
        max_tokens: The longest answer.
        ignore_eos: Whether to ask for answers of just that length; not every server can.
        disconnect_ratio: The share of requests that hang up in the middle of the answer.
        seed: Decides the words, who hangs up, and when.
        extra_body: Further fields of each request; they stand above these.
    """

    requests: int = 64
    prompt_tokens: int = 128
    shared_prefix_tokens: int = 0
    max_tokens: int = 64
    ignore_eos: bool = False
    disconnect_ratio: float = 0.0
    seed: int = 0
    extra_body: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_integer("requests", self.requests, 1)
        check_integer("prompt_tokens", self.prompt_tokens, 1)
        check_integer("shared_prefix_tokens", self.shared_prefix_tokens, 0)
        check_integer("max_tokens", self.max_tokens, 1)
        check_number("disconnect_ratio", self.disconnect_ratio, _SHARE)
        check_integer("seed", self.seed, 0)

    def plan(self, model: str, words: WordSupply) -> list["PlannedRequest"]:
        """Every request as it will be sent."""
        # Each choice draws from a stream of its own: who hangs up must not change the prompts.
        texts, leavers = random.Random(f"{self.seed} texts"), random.Random(f"{self.seed} leavers")  # noqa: S311
        system = words.text(self.shared_prefix_tokens, texts) if self.shared_prefix_tokens else None
        planned = []
        for _ in range(self.requests):
            messages = [{"role": "system", "content": system}] if system else []
            messages.append({"role": "user", "content": words.text(self.prompt_tokens, texts)})
            leaves = leavers.random() < self.disconnect_ratio
            # Servers send several tokens in a piece: by tokens alone, some answers would end before.
            pieces = leavers.randint(1, max(1, self.max_tokens // 8))
            body = json.dumps(chat_request(model, messages, self._settings())).encode()
            planned.append(PlannedRequest(body, pieces if leaves else None))
        return planned

    def _settings(self) -> dict[str, Any]:
        settings: dict[str, Any] = {"max_tokens": self.max_tokens, "temperature": 0.0}
        if self.ignore_eos:
            settings["ignore_eos"] = True
        return settings | dict(self.extra_body)


@dataclass(frozen=True, slots=True)
class PlannedRequest:
    """A request's body, and after how many pieces of the answer to hang up; `None` hears it out."""

    body: bytes
    hangs_up_after: int | None = None


def arrival_seconds(requests: int, rate: float, seed: int) -> list[float]:
    """When each request is sent, in seconds from the start: a Poisson process, or all at once for `inf`.

    The times between arrivals are exponential with the mean `1 / rate`; the first one is waited for, too.
    """
    if not rate > 0:
        raise ConfigError(f"rate is {rate:g}; it must be above 0, or inf for all at once")
    gaps = np.random.default_rng(seed).exponential(1.0, requests) / rate
    return [float(second) for second in np.cumsum(gaps)]
