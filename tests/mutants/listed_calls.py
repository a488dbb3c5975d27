"""Mutants of the calls that make text: keywords, many prompts at once, what is told of an answer."""

from tests.mutants.mutant import python_mutant

__all__ = ["CALL_MUTANTS"]

KEYWORDS = ("engine/test_keywords.py",)
MANY = ("engine/test_many_prompts.py",)
SHOWN = ("engine/test_shown.py",)
CHOICES = ("engine/test_choices.py",)
RECOMMENDED = ("engine/test_recommended.py",)
SCORED = ("engine/test_prompt_logprobs.py",)
PROGRESS = ("hub/test_progress.py",)

CALL_MUTANTS = (
    python_mutant(
        "params.py",
        "return replace(params, **_changes(keywords, beside)) if keywords else params",
        "return params",
        KEYWORDS,
    ),
    python_mutant("params.py", 'known = (*names, "stop", *beside)', "known = (*names,)", KEYWORDS),
    python_mutant("params.py", "if len(each) != count:", "if False:", MANY),
    python_mutant("runtime/prompts.py", "if isinstance(given, Set):", "if False:", MANY),
    python_mutant("runtime/gathering.py", "            one.cancel()\n", "            pass\n", MANY),
    python_mutant("runtime/gathering.py", "            await asyncio.sleep(0)\n", "            pass\n", MANY),
    python_mutant("runtime/gathering.py", "tasks[:max_in_flight]", "tasks", MANY),
    python_mutant("runtime/streams.py", "stop_sequences[event.stop_index]", "stop_sequences[0]", SHOWN),
    python_mutant(
        "runtime/chat_methods.py", "dict.fromkeys((*shown, *params.keep_special))", "shown", KEYWORDS
    ),
    python_mutant("chat/session.py", "prompt=prompt.text)", "prompt=None)", SHOWN),
    python_mutant("params.py", "(self.seed + index) % 2**64", "self.seed", CHOICES),
    python_mutant(
        "runtime/generations.py", ", params=params, **taken._asdict())", ", params=params)", CHOICES
    ),
    python_mutant(
        "runtime/gathering.py",
        "self._loop.cancel(self._under_way.pop(place)",
        "(self._under_way.pop(place)",
        CHOICES,
    ),
    python_mutant("runtime/gathering.py", "prompt == prompt:", "prompt == -1:", CHOICES),
    python_mutant("chat/batch.py", "outcome.usage_of_choices", "outcome.usage", CHOICES),
    python_mutant("runtime/answering.py", "(None, *scores)", "scores", SCORED),
    python_mutant(
        "runtime/generations.py", "first.token_ids, wanted, terms", "first.token_ids, 0, terms", SCORED
    ),
    python_mutant("runtime/makers_sampling.py", "**{**_OFF, **said}", "**said", RECOMMENDED),
    python_mutant("runtime/makers_sampling.py", "if samples is False:", "if False:", RECOMMENDED),
    python_mutant(
        "runtime/makers_sampling.py", "if len(content) > MAX_FILE_BYTES:", "if False:", RECOMMENDED
    ),
    python_mutant("runtime/makers_sampling.py", ", parse_constant=refuse", "", RECOMMENDED),
    python_mutant("runtime/makers_sampling.py", 'if "sequence" in values:', "if False:", RECOMMENDED),
    python_mutant(
        "runtime/makers_sampling.py", '"penalty_last_n", _LAST_TOKENS)', '"penalty_last_n", -1)', RECOMMENDED
    ),
    python_mutant("runtime/makers_sampling.py", "values.keys() & _GGUF_CHOICES", "values", RECOMMENDED),
    python_mutant("runtime/makers_sampling.py", "self._read = copy.copy(error)", "pass", RECOMMENDED),
    python_mutant("llm.py", "quiet=progress is False)", "quiet=False)", PROGRESS),
    python_mutant("hub/progress.py", "after_seconds=SHOWN_AFTER_SECONDS", "after_seconds=0.0", PROGRESS),
)
