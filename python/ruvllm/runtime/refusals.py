"""What an engine cannot, refused before a request begins: by the flags of its backend, each by its name."""

from ruvllm.errors import ConfigError
from ruvllm.params import GenerateParams
from ruvllm.runtime.open_model import OpenModel
from ruvllm.runtime.request import Terms

__all__ = ["check_evaluation", "check_generation", "check_prompt_logprobs"]

# What has a flag of its own name, and the value that asks for nothing.
_NEUTRAL: dict[str, object] = {
    "top_k": 0,
    "min_p": 0.0,
    "typical_p": 1.0,
    "top_n_sigma": 0.0,
    "repetition_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "dry": None,
    "xtc": None,
    "dynamic_temperature": None,
    "mirostat": None,
    "logit_bias": {},
    "stop_token_ids": (),
    "min_tokens": 0,
    "bad_words": (),
    "logits_processors": (),
    "logprobs": None,
    "grammar": None,
    "thinking_tokens": None,
    "keep_special": (),
}


def check_generation(model: OpenModel, params: GenerateParams, terms: Terms) -> None:
    """`ConfigError` for the first parameter that the model's backend would have to ignore."""
    params.check_one_answer("what this call makes")
    supports = model.supports
    for name, neutral in _NEUTRAL.items():
        if not getattr(supports, name) and getattr(params, name) != neutral:
            raise _refusal(model, name, f"leave it out (or {neutral!r})")
    # Where nothing is drawn, a seed has nothing to fix.
    if not supports.seed and params.seed is not None and params.temperature > 0:
        raise _refusal(model, "seed", "leave it out, or set temperature to 0")
    penalized = params.repetition_penalty != 1
    others = [
        name
        for name in ("presence_penalty", "frequency_penalty", "logit_bias")
        if getattr(params, name) != _NEUTRAL[name]
    ]
    if not supports.mixed_penalties and penalized and others:
        raise _refusal(model, f"repetition_penalty together with {others[0]}", "use one of them")
    is_changed = params.temperature not in (0, 1) or penalized or bool(others) or params.dry is not None
    if not supports.any_logprobs and params.logprobs is not None and is_changed:
        raise _refusal(
            model,
            "logprobs at another temperature than 0 or 1, or with penalties or logit_bias",
            "leave one of them out",
        )
    _check_bias(model, params)
    _check_terms(model, terms)


def check_prompt_logprobs(model: OpenModel) -> None:
    """`ConfigError` where the model's backend cannot say them."""
    if not model.supports.evaluations:
        raise _refusal(model, "prompt_logprobs", "leave it out")


def check_evaluation(model: OpenModel, kind: str, terms: Terms) -> None:
    """The same of what is to be computed about given tokens."""
    if not model.supports.evaluations:
        raise _refusal(model, f"numbers about given tokens ({kind})", "use the native backend")
    _check_terms(model, terms)


def _check_terms(model: OpenModel, terms: Terms) -> None:
    if not model.supports.adapters and terms.adapters:
        raise _refusal(model, "adapter", "leave it out")


def _check_bias(model: OpenModel, params: GenerateParams) -> None:
    """An engine that does not know a token may pass over what is said of it."""
    size = model.facts.vocab_size
    for token in params.logit_bias:
        if token >= size:
            raise ConfigError(
                f"logit_bias names token {token}; it must be below {size}, the size of the vocabulary"
            )


def _refusal(model: OpenModel, what: str, advice: str) -> ConfigError:
    return ConfigError(f"the backend {model.backend!r} has no {what}; {advice}")
