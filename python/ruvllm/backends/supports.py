"""What an engine can do beside making text, one flag each: tests, refusals and docs/backends.md read them.

What is not supported is refused by name. Nothing is ignored that would change an answer.
"""

from dataclasses import dataclass, field, fields

__all__ = ["Supports", "explained"]


def _flag(meaning: str) -> bool:
    made: bool = field(default=False, metadata={"meaning": meaning})
    return made


@dataclass(frozen=True, slots=True, kw_only=True)
class Supports:
    """The flags of a backend; one that says nothing supports nothing of this.

    >>> Supports(seed=True).seed, Supports().seed
    (True, False)

    Attributes:
        settings: The settings of `EngineSettings`, by name, that change something; others are refused.
    """

    any_tokens: bool = _flag("a prompt of any token ids, also of such as no text would become")
    seed: bool = _flag("`seed`: the same request gives the same answer at any temperature")
    top_k: bool = _flag("`top_k`")
    min_p: bool = _flag("`min_p`")
    typical_p: bool = _flag("`typical_p`")
    top_n_sigma: bool = _flag("`top_n_sigma`")
    repetition_penalty: bool = _flag("`repetition_penalty`")
    presence_penalty: bool = _flag("`presence_penalty`")
    frequency_penalty: bool = _flag("`frequency_penalty`")
    dry: bool = _flag("`dry`")
    xtc: bool = _flag("`xtc`")
    dynamic_temperature: bool = _flag("`dynamic_temperature`")
    mirostat: bool = _flag("`mirostat`")
    mixed_penalties: bool = _flag(
        "`repetition_penalty` together with `presence_penalty`, `frequency_penalty` or `logit_bias`"
    )
    logit_bias: bool = _flag("`logit_bias`")
    stop_token_ids: bool = _flag("`stop_token_ids`")
    min_tokens: bool = _flag("`min_tokens`")
    bad_words: bool = _flag("`bad_words`")
    logits_processors: bool = _flag("`logits_processors`")
    logprobs: bool = _flag("`logprobs` of what the model said: at a temperature of 0 or 1 without penalties")
    any_logprobs: bool = _flag("`logprobs` whatever the temperature and the penalties are")
    prefix_cache: bool = _flag("a cache of prefixes that tenants do not share, its figures, and its file")
    grammar: bool = _flag("`grammar`: structured output and the calls of tools, by construction")
    thinking_tokens: bool = _flag("`thinking_tokens`")
    keep_special: bool = _flag(
        "marks shown in the text: chats of models whose thoughts or calls stand in such"
    )
    adapters: bool = _flag("adapters that requests name, and learning")
    evaluations: bool = _flag("logits, scores, `prompt_logprobs`, embeddings and decisions")
    side_by_side: bool = _flag("several answers at a time; without it they come one after the other")
    preemption: bool = _flag("setting a request aside for another; without it who is in stays in")
    quotas: bool = _flag("quotas of tenants in bytes, and the figures of the key-value cache")
    profile: bool = _flag("a profile of the steps")
    settings: frozenset[str] = frozenset()

    @classmethod
    def everything(cls, settings: frozenset[str]) -> "Supports":
        """All flags set."""
        return cls(settings=settings, **dict.fromkeys(explained(), True))


def explained() -> dict[str, str]:
    """What each flag means, in their order."""
    return {one.name: one.metadata["meaning"] for one in fields(Supports) if "meaning" in one.metadata}
