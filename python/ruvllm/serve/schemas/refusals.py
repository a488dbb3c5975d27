"""Fields that other servers have and this one does not do: refused, since they would change the answer."""

from typing import Any

__all__ = ["ACCEPTED", "HARMLESS", "REFUSED"]

_LATER = "this server has no tools and no constrained output yet"
_OTHER_ENGINE = "it is another engine's setting"

_TOOLS_AND_SCHEMAS = """
    tools tool_choice parallel_tool_calls functions function_call response_format grammar json_schema
    structured_outputs guided_json guided_regex guided_choice guided_grammar
"""
_OTHER_ENGINES = """
    best_of length_penalty use_beam_search early_stopping stop_token_ids min_tokens bad_words
    allowed_token_ids prompt_logprobs truncate_prompt_tokens cache_salt
    include_stop_str_in_output skip_special_tokens
    spaces_between_special_tokens typical_p tfs_z mirostat mirostat_tau mirostat_eta dry_multiplier
    xtc_probability dynatemp_range n_probs id_slot chat_template chat_template_kwargs add_generation_prompt
    continue_final_message documents
"""

# Field to reason.
REFUSED = {
    **dict.fromkeys(_TOOLS_AND_SCHEMAS.split(), _LATER),
    **dict.fromkeys(_OTHER_ENGINES.split(), _OTHER_ENGINE),
    "audio": "the model makes text only",
    "modalities": "the model makes text only",
    "web_search_options": "nothing is searched here",
    "prediction": "predicted outputs are not used here",
    "moderation": "nothing is moderated here",
    "reasoning_effort": "the model's reasoning cannot be set",
    "reasoning": "the model's reasoning cannot be set",
}

# Values of such fields that ask for what happens anyway.
HARMLESS: dict[str, tuple[Any, ...]] = {
    "modalities": (["text"],),
    "tools": ([],),
    "functions": ([],),
    "tool_choice": ("none", "auto"),
    "function_call": ("none", "auto"),
    "response_format": ({"type": "text"},),
    "reasoning_effort": ("none",),
    "add_generation_prompt": (True,),
    "skip_special_tokens": (True,),
}

# Fields that ask for nothing which would change an answer.
ACCEPTED = frozenset(
    (
        "metadata",
        "prompt_cache_key",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "store",
        "user",
        "verbosity",
    )
)
