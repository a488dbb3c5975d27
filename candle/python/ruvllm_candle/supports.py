"""What the backend `candle` can; the table of docs/backends.md reads it where nothing is installed."""

from ruvllm.backends.supports import Supports

__all__ = ["SUPPORTS"]

SUPPORTS = Supports(
    any_tokens=True,
    seed=True,
    top_k=True,
    min_p=True,
    typical_p=True,
    top_n_sigma=True,
    repetition_penalty=True,
    presence_penalty=True,
    frequency_penalty=True,
    dry=True,
    xtc=True,
    dynamic_temperature=True,
    mirostat=True,
    mixed_penalties=True,
    logit_bias=True,
    stop_token_ids=True,
    min_tokens=True,
    bad_words=True,
    logprobs=True,
    any_logprobs=True,
    grammar=True,
    thinking_tokens=True,
    keep_special=True,
    settings=frozenset({"threads", "max_context", "limits", "chat_template"}),
)
