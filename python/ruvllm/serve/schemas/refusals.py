"""Fields that other servers have and this one does not do: refused, unless their value changes nothing.

Whoever stands in front of the server may write into each body what its sender left out, so a field is refused
for what it says, not for being there. `HARMLESS` is the one table of such values, for the bodies of all APIs.
"""

from typing import Any

__all__ = [
    "ACCEPTED",
    "HARMLESS",
    "REFUSED",
    "REFUSED_IN_TEMPLATES",
    "SHAPES",
    "is_harmless",
    "refused_beside",
]

_SHAPES_ELSEWHERE = "this API says in a way of its own what an answer must be"
_CONVERSATIONS = "tools and thinking are for conversations: chat completions, responses and messages"
_OTHER_ENGINE = "it is another engine's setting"

_TOOLS = "tools tool_choice parallel_tool_calls reasoning_effort reasoning"
# Fields that say what an answer must be.
SHAPES = (
    "response_format", "structured_outputs", "json_schema", "grammar", "regex", "ebnf", "guided_json",
    "guided_regex", "guided_choice", "guided_grammar",
)  # fmt: skip
_TEMPLATES = "chat_template chat_template_kwargs add_generation_prompt continue_final_message documents"
_OTHER_ENGINES = """
    best_of length_penalty use_beam_search early_stopping stop_regex
    allowed_token_ids prompt_logprobs truncate_prompt_tokens cache_salt echo
    include_stop_str_in_output skip_special_tokens no_stop_trim return_hidden_states
    include_reasoning separate_reasoning stream_reasoning lora_path session_params sampling_seed
    spaces_between_special_tokens tfs_z n_probs id_slot
"""

# Those of a chat template, wherever one makes a prompt; field to reason.
REFUSED_IN_TEMPLATES = dict.fromkeys(_TEMPLATES.split(), _OTHER_ENGINE)

# Those of every API that makes text.
REFUSED = {
    **dict.fromkeys(_TOOLS.split(), _CONVERSATIONS),
    **dict.fromkeys(SHAPES, _SHAPES_ELSEWHERE),
    **dict.fromkeys(("functions", "function_call"), "give tools, which came in their place"),
    **REFUSED_IN_TEMPLATES,
    **dict.fromkeys(_OTHER_ENGINES.split(), _OTHER_ENGINE),
    "audio": "the model makes text only",
    "modalities": "the model makes text only",
    "web_search_options": "nothing is searched here",
    "prediction": "predicted outputs are not used here",
    "moderation": "nothing is moderated here",
}

# Values that ask for what happens anyway, by the field's name, of whatever API it is. A null always does.
HARMLESS: dict[str, tuple[Any, ...]] = {
    # No tools and no shape of the answer.
    "tools": ([],),
    "tool_choice": ("none", "auto", {"type": "none"}, {"type": "auto"}),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "mcp_servers": ([],),
    # Says something of tools, of which there are none.
    "parallel_tool_calls": (True, False),
    "response_format": ({"type": "text"},),
    # Nothing beside the prompt, and nothing in place of the model's template.
    "images": ([],),
    "context": ([],),
    "template": ("",),
    "penalize_newline": (True,),
    "typ_p": (1,),
    "lora": ([],),
    "modalities": (["text"],),
    # A prompt is gone on from, and nothing is thought before.
    "reasoning_effort": ("none",),
    "reasoning": ({}, {"effort": None}, {"effort": "none"}),
    # Thoughts have a place of their own, and come as they are made: routers say it in every body.
    "include_reasoning": (True,),
    "separate_reasoning": (True,),
    "stream_reasoning": (True,),
    # The prompt as its messages and the model's template make it.
    "chat_template_kwargs": ({},),
    "add_generation_prompt": (True,),
    "continue_final_message": (False,),
    "documents": ([],),
    "truncation": ("disabled",),
    # A sampler that does nothing.
    "length_penalty": (1,),
    "use_beam_search": (False,),
    "early_stopping": (False,),
    "tfs_z": (1,),
    # One answer, which ends where the model ends it, and nothing beside its text.
    "n": (1,),
    "best_of": (1,),
    "stop": ("", []),
    "stop_regex": ("", []),
    "no_stop_trim": (False,),
    "include_stop_str_in_output": (False,),
    "skip_special_tokens": (True,),
    "spaces_between_special_tokens": (True,),
    "echo": (False,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "n_probs": (0,),
    "return_hidden_states": (False,),
    # What was thought comes as it is, and nothing of it encrypted.
    "include": ([], ["reasoning.encrypted_content"]),
    "with_pieces": (False,),
    # The one way in which this server works.
    "background": (False,),
    "context_management": ({"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},),
    "id_slot": (-1,),
    "include_obfuscation": (False,),
    "speed": ("standard",),
    "insecure": (False,),
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


def is_harmless(name: str, value: Any) -> bool:
    """Whether a field that is not done here may have this value, since nothing would be other for it.

    >>> is_harmless("n", 1), is_harmless("n", True), is_harmless("n", 2), is_harmless("n", None)
    (True, False, False, True)
    """
    if value is None:
        return True
    # To Python, true is 1 and false 0; to JSON they are not.
    is_truth = isinstance(value, bool)
    return any(
        isinstance(harmless, bool) == is_truth and value == harmless for harmless in HARMLESS.get(name, ())
    )


def refused_beside(*done: str) -> dict[str, str]:
    """What an API refuses that does some of the fields which others refuse."""
    return {name: why for name, why in REFUSED.items() if name not in done}
