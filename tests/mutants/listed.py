"""The mutants of the package: features taken out one by one, each beside the tests that stand for it."""

from tests.mutants.mutant import Mutant

__all__ = ["MUTANTS"]

SAMPLING = (
    Mutant(
        "runtime/opening.py",
        "presence_penalty=params.presence_penalty",
        "presence_penalty=0.0",
        ("sampling/test_distributions.py",),
    ),
    Mutant(
        "runtime/opening.py",
        "frequency_penalty=params.frequency_penalty",
        "frequency_penalty=0.0",
        ("sampling/test_distributions.py",),
    ),
    Mutant(
        "runtime/opening.py",
        "repetition_penalty=params.repetition_penalty",
        "repetition_penalty=1.0",
        ("sampling/test_distributions.py",),
    ),
    Mutant("runtime/opening.py", "min_p=params.min_p", "min_p=0.0", ("sampling/test_distributions.py",)),
    Mutant("runtime/opening.py", "top_k=params.top_k", "top_k=0", ("sampling/test_distributions.py",)),
    Mutant(
        "runtime/opening.py",
        "cache_min_tokens=params.min_cache_tokens if params.cache_prefix else None",
        "cache_min_tokens=16 if params.cache_prefix else None",
        ("memory/test_prefix_params.py",),
    ),
    Mutant(
        "runtime/opening.py",
        "cache_min_tokens=params.min_cache_tokens if params.cache_prefix else None",
        "cache_min_tokens=params.min_cache_tokens",
        ("memory/test_prefix_params.py",),
    ),
)

WAITING_TIMES = (
    Mutant(
        "runtime/pace.py",
        "min(max(tokens / self.tokens_per_second, MIN_WAIT_SECONDS), MAX_WAIT_SECONDS)",
        "MIN_WAIT_SECONDS",
        ("engine/test_pace.py",),
    ),
    Mutant(
        "runtime/pace.py",
        "self._measured or ASSUMED_TOKENS_PER_SECOND",
        "ASSUMED_TOKENS_PER_SECOND",
        ("engine/test_pace.py",),
    ),
    Mutant(
        "runtime/pace.py",
        "self._measured + WEIGHT * (rate - self._measured)",
        "self._measured",
        ("engine/test_pace.py",),
    ),
    Mutant(
        "runtime/loop.py",
        "self._pace.wait_seconds(self._waiting.mean_reserved_tokens)",
        "1.0",
        ("memory/test_pressure.py",),
    ),
    Mutant(
        "runtime/loop.py",
        "self._pace.wait_seconds(self._waiting.mean_reserved_tokens)",
        "self._pace.wait_seconds(len(task.token_ids))",
        ("memory/test_pressure.py",),
    ),
    Mutant(
        "serve/errors.py",
        "max(1, round(error.retry_after_seconds or 1))",
        "1",
        ("serve/test_load.py",),
    ),
    Mutant("serve/limits.py", "str(max(1, round(seconds + 0.5)))", '"1"', ("serve/test_access.py",)),
    Mutant(
        "serve/limits.py",
        "return (count - self._left) * 60 / self._per_minute",
        "return 60 / self._per_minute",
        ("serve/test_access.py",),
    ),
)

STREAMS = (
    Mutant(
        "runtime/streams.py",
        "trace: TracebackType | None\n    ) -> None:\n        self._cancel()",
        "trace: TracebackType | None\n    ) -> None:\n        pass",
        ("engine/test_loop.py",),
    ),
)

CONVERSATIONS = (
    Mutant(
        "serve/conversation.py",
        'variables = None if conversation.thinks else {"enable_thinking": False}',
        "variables = None",
        ("serve/test_thinking.py",),
    ),
    Mutant(
        "serve/schemas/chat.py",
        'thinks=(self.model_extra or {}).get("reasoning_effort") is None',
        "thinks=True",
        ("serve/test_thinking.py",),
    ),
    Mutant(
        "serve/schemas/messages.py",
        'thinks=(self.model_extra or {}).get("thinking") is None',
        "thinks=True",
        ("serve/test_thinking.py",),
    ),
    Mutant(
        "serve/schemas/responses.py",
        'thinks=reasoning.get("effort") is None',
        "thinks=True",
        ("serve/test_thinking.py",),
    ),
    Mutant(
        "chat/rag.py",
        "    temperature=0.0, repetition_penalty=1.0, stop_sequences",
        "    temperature=1.0, repetition_penalty=1.0, stop_sequences",
        ("chat/test_rag.py",),
    ),
    Mutant(
        "chat/rag.py",
        'stop_sequences=("\\nQuestion:", "\\nContext:")',
        'stop_sequences=("\\nContext:",)',
        ("chat/test_rag.py",),
    ),
    Mutant(
        "chat/room.py",
        "return max_context - max(1, min(params.max_tokens, max_context // ANSWER_PART))",
        "return max_context",
        ("chat/test_rag.py",),
    ),
    Mutant(
        "chat/room.py",
        "min(params.max_tokens, max_context // ANSWER_PART)",
        "params.max_tokens",
        ("chat/test_rag.py",),
    ),
    Mutant(
        "backends/native.py",
        "if previous is not None:\n            previous.close()",
        "",
        ("backends/test_native.py",),
    ),
)

ADMISSION = (
    Mutant("runtime/admission.py", "self._swap_free -= one.blocks", "pass", ("engine/test_scheduler.py",)),
    Mutant(
        "runtime/loop.py",
        "max(0, self._swap_bytes - status.swapped_bytes)",
        "self._swap_bytes",
        ("memory/test_pressure.py",),
    ),
)

MUTANTS = (*SAMPLING, *WAITING_TIMES, *STREAMS, *CONVERSATIONS, *ADMISSION)
