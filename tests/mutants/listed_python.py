"""Mutants of the Python package: features taken out one by one, each beside the tests that stand for it."""

from tests.mutants.listed_autodetect import AUTODETECT_MUTANTS
from tests.mutants.listed_calls import CALL_MUTANTS
from tests.mutants.listed_evaluating import EVALUATING_MUTANTS
from tests.mutants.listed_images import IMAGE_MUTANTS
from tests.mutants.listed_learning import LEARNING_MUTANTS
from tests.mutants.listed_loops import LOOP_MUTANTS
from tests.mutants.listed_managing import MANAGING_MUTANTS
from tests.mutants.listed_scheduler import SCHEDULER_MUTANTS
from tests.mutants.listed_terminal import TERMINAL_MUTANTS
from tests.mutants.mutant import Mutant, python_mutant

__all__ = ["PYTHON_MUTANTS"]

SAMPLING = (
    python_mutant(
        "runtime/native_engine.py",
        "params.repetition_penalty, params.presence_penalty, params.frequency_penalty",
        "params.repetition_penalty, 0.0, params.frequency_penalty",
        ("sampling/test_distributions.py",),
    ),
    python_mutant(
        "runtime/native_engine.py",
        "params.presence_penalty, params.frequency_penalty),",
        "params.presence_penalty, 0.0),",
        ("sampling/test_distributions.py",),
    ),
    python_mutant(
        "runtime/native_engine.py",
        "penalties=(params.repetition_penalty, params",
        "penalties=(1.0, params",
        ("sampling/test_distributions.py",),
    ),
    python_mutant(
        "runtime/native_engine.py",
        "tuple(getattr(sampler, one.name) for one in fields(sampler))",
        "tuple(one.default for one in fields(sampler))",
        ("sampling/test_samplers.py",),
    ),
    python_mutant(
        "samplers.py", 'del told["dry_penalty_last_n"]', "told.clear()", ("serve/test_samplers.py",)
    ),
    python_mutant(
        "samplers.py",
        "made = named.made(told if is_on else {**told, named.switch: 1})",
        "made = named.made(told) if is_on else None",
        ("cli/test_sampling_choices.py",),
    ),
    python_mutant(
        "cli/options.py", "1.0 if self.mirostat else 0.9", "0.9", ("cli/test_sampling_choices.py",)
    ),
    python_mutant("serve/rendering.py", "        **samplers,\n", "", ("serve/test_worker.py",)),
    python_mutant(
        "serve/schemas/llama_sampling.py", "if self.mirostat:", "if False:", ("serve/test_samplers.py",)
    ),
    python_mutant(
        "runtime/native_engine.py", "min_p=params.min_p", "min_p=0.0", ("sampling/test_distributions.py",)
    ),
    python_mutant(
        "runtime/native_engine.py", "top_k=params.top_k", "top_k=0", ("sampling/test_distributions.py",)
    ),
    python_mutant(
        "runtime/native_engine.py",
        "cache_min_tokens=params.min_cache_tokens if params.cache_prefix else None",
        "cache_min_tokens=16 if params.cache_prefix else None",
        ("memory/test_prefix_params.py",),
    ),
    python_mutant(
        "runtime/native_engine.py",
        "cache_min_tokens=params.min_cache_tokens if params.cache_prefix else None",
        "cache_min_tokens=params.min_cache_tokens",
        ("memory/test_prefix_params.py",),
    ),
)

RETRY_AFTER = (
    python_mutant(
        "serve/errors.py",
        "max(1, round(error.retry_after_seconds or 1))",
        "1",
        ("serve/test_load.py",),
    ),
    python_mutant("serve/limits.py", "str(max(1, round(seconds + 0.5)))", '"1"', ("serve/test_access.py",)),
    python_mutant(
        "runtime/bucket.py",
        "return (count - self._left) * 60 / self._per_minute",
        "return 60 / self._per_minute",
        ("serve/test_access.py",),
    ),
)

STREAMS = (
    python_mutant("runtime/closing.py", "self.close()", "pass", ("engine/test_loop.py",)),
    python_mutant(
        "runtime/streams.py",
        "is_urgent = not self._has_begun or is_last(events[-1])",
        "is_urgent = False",
        ("engine/test_async_sinks.py",),
    ),
    python_mutant(
        "runtime/streams.py",
        "if len(batches) > 1 and isinstance(batches[-1][0][-1], Failed):",
        "if False:",
        ("engine/test_async_sinks.py",),
    ),
    python_mutant(
        "runtime/mailbox.py",
        "if self._interval and not self._is_resting:",
        "if False:",
        ("engine/test_async_sinks.py",),
    ),
    python_mutant(
        "runtime/streams.py",
        "computed_prompt_tokens=event.prompt_tokens - event.cached_tokens",
        "computed_prompt_tokens=event.prompt_tokens",
        ("memory/test_prefix_params.py",),
    ),
    python_mutant(
        "runtime/streams.py",
        "trace: TracebackType | None\n    ) -> None:\n        self._cancel()",
        "trace: TracebackType | None\n    ) -> None:\n        pass",
        ("engine/test_loop.py",),
    ),
)

TOOLS = ("serve/test_tools_chat.py", "serve/test_tools_responses.py")

CONVERSATIONS = (
    python_mutant(
        "serve/conversation.py",
        'thinks = effort != "none"',
        "thinks = True",
        ("serve/test_thinking.py",),
    ),
    python_mutant(
        "serve/schemas/chat.py",
        "effort=self.effort(),",
        "effort=None,",
        ("serve/test_thinking.py",),
    ),
    python_mutant(
        "serve/schemas/thinking.py",
        'return "none" if thinking is not None and thinking.type == "disabled" else effort',
        "return effort",
        ("serve/test_thinking.py",),
    ),
    python_mutant(
        "serve/schemas/responses.py",
        "effort=self.reasoning.effort if self.reasoning else None,",
        "effort=None,",
        ("serve/test_thinking.py",),
    ),
    python_mutant(
        "serve/answer_reading.py",
        "elif part.index and not self._use.parallel:",
        "elif part.index < 0:",
        TOOLS,
    ),
    python_mutant(
        "serve/answer_reading.py",
        'return "tool_calls" if self._finish_reason == "stop" and self._calls else self._finish_reason',
        "return self._finish_reason",
        TOOLS,
    ),
    python_mutant(
        "serve/answer_reading.py",
        "thinking_open=llm.response_format.thinking_open(tail, beginning=beginning),",
        "thinking_open=False,",
        TOOLS,
    ),
    python_mutant(
        "serve/schemas/calls.py",
        "if call_id not in self._names:",
        "if call_id is None:",
        TOOLS,
    ),
    python_mutant(
        "serve/tool_use.py",
        'if choice.kind == "none":',
        'if choice.kind == "never":',
        TOOLS,
    ),
    python_mutant(
        "serve/schemas/blocks.py",
        "if block.thinking and block.signature == signature_of(block.thinking):",
        "if block.thinking:",
        ("serve/test_tools_messages.py",),
    ),
    python_mutant(
        "serve/response_items.py",
        '"custom_tool_call" if part.name in self._use.custom else "function_call"',
        '"function_call"',
        ("serve/test_tools_responses.py",),
    ),
    python_mutant(
        "chat/rag.py",
        "    temperature=0.0, repetition_penalty=1.0, stop_sequences",
        "    temperature=1.0, repetition_penalty=1.0, stop_sequences",
        ("chat/test_rag.py",),
    ),
    python_mutant(
        "chat/rag.py",
        'stop_sequences=("\\nQuestion:", "\\nContext:")',
        'stop_sequences=("\\nContext:",)',
        ("chat/test_rag.py",),
    ),
    python_mutant(
        "chat/room.py",
        "return max_context - max(1, min(params.max_tokens, max_context // ANSWER_PART))",
        "return max_context",
        ("chat/test_rag.py",),
    ),
    python_mutant(
        "chat/room.py",
        "min(params.max_tokens, max_context // ANSWER_PART)",
        "params.max_tokens",
        ("chat/test_rag.py",),
    ),
    python_mutant(
        "runtime/refusals.py",
        "if not supports.seed and params.seed is not None and params.temperature > 0:",
        "if False:",
        ("backends/test_supports.py",),
    ),
    python_mutant(
        "backends/streaming_engine.py",
        "        self._new.append(one)\n",
        "        thread.start()\n",
        ("backends/test_supports.py", "backends/test_streaming_engine.py"),
    ),
    python_mutant(
        "backends/mistralrs/answers.py",
        "stop_seqs=None if params.ignore_eos else self._ends,",
        "stop_seqs=None,",
        ("backends/test_mistralrs.py",),
    ),
    python_mutant(
        "backends/engine.py",
        "if previous is not None:\n            previous.close()",
        "",
        ("backends/test_native.py",),
    ),
)


STORED = "serve/test_stored_responses.py"
KEPT = "serve/test_responses_kept.py"

SERVER = (
    python_mutant(
        "serve/limits.py", "self._limits.give_back(self._key, self._held)", "pass", ("serve/test_access.py",)
    ),
    python_mutant(
        "runtime/bucket.py", "if self._left < count:", "if self._left < 0:", ("serve/test_access.py",)
    ),
    python_mutant(
        "serve/limits.py", "if under_way + count > most:", "if count > most:", ("serve/test_access.py",)
    ),
    python_mutant(
        "runtime/bucket.py", "min(self._per_minute, refilled)", "refilled", ("serve/test_access.py",)
    ),
    python_mutant("serve/shelves.py", "shelf.kept.move_to_end(name)", "pass", (STORED, KEPT)),
    python_mutant("serve/shelves.py", "kept.used = next(self._uses)", "pass", (STORED, KEPT)),
    python_mutant(
        "serve/shelves.py",
        "        self.drop(tenant, name)\n        shelf =",
        "        shelf =",
        (STORED, KEPT),
    ),
    python_mutant("serve/shelves.py", "shelf.num_bytes -= gone.num_bytes", "pass", (STORED, KEPT)),
    python_mutant(
        "serve/shelves.py",
        "self._evict(lambda shelf: shelf.num_bytes)",
        "self._evict(lambda shelf: len(shelf.kept))",
        (STORED, KEPT),
    ),
    python_mutant(
        "serve/shelves.py",
        "-self._shelves[name].oldest.used",
        "self._shelves[name].oldest.used",
        (STORED, KEPT),
    ),
)

FIELDS, WORKER = "serve/test_fields.py", "serve/test_worker.py"

BEHIND_ROUTERS = (
    python_mutant(
        "serve/schemas/base.py", "if not is_harmless(name, value):", "if value is not None:", (FIELDS,)
    ),
    python_mutant("serve/schemas/base.py", "max(0, self.top_k or 0)", "self.top_k or 0", (FIELDS, WORKER)),
    python_mutant(
        "serve/schemas/refusals.py",
        "isinstance(harmless, bool) == is_truth and value == harmless",
        "value == harmless",
        (FIELDS,),
    ),
    python_mutant(
        "serve/routes/health.py", "if server.leaving.is_set():", "if False:", ("serve/test_process.py",)
    ),
    python_mutant(
        "serve/running.py",
        "self._leaves_at = time.monotonic() + self._drain_delay",
        "self._leaves_at = time.monotonic()",
        ("serve/test_process.py",),
    ),
    python_mutant(
        "serve/rendering.py",
        "min(params.max_tokens, room)",
        "params.max_tokens",
        (WORKER,),
    ),
)

ON_VECTORS, IN_A_MODEL = ("adapters/test_micro_lora.py",), ("adapters/test_micro_model.py",)

MICRO_LORA = (
    python_mutant("adapters/micro_lora.py", "math.frexp(float(np.abs(matrix).max()))[1]", "0", ON_VECTORS),
    python_mutant(
        "adapters/micro_lora.py",
        "fisher_b = fisher_b + np.float32(decay) * before[name].fisher_b",
        "fisher_b = fisher_b + before[name].fisher_b",
        ON_VECTORS,
    ),
    python_mutant(
        "adapters/micro_lora.py",
        "return adapters.replace(name, weights)",
        "return adapters.info(name)",
        IN_A_MODEL,
    ),
    python_mutant(
        "adapters/micro_config.py",
        "known[layer, module.value]",
        "known[0, 'q_proj']",
        IN_A_MODEL,
    ),
)

BANK = ("reasoning/test_bank.py", "reasoning/test_context.py")
BANK_FILE = ("reasoning/test_bank_file.py",)
REASONING_BANK = (
    python_mutant(
        "reasoning/content.py",
        "(number in spared, self.worth(number), number)",
        "(False, self.worth(number), number)",
        BANK,
    ),
    python_mutant(
        "reasoning/patterns.py", "np.maximum(qualities, LEAST_WEIGHT)", "np.ones(len(qualities))", BANK
    ),
    python_mutant("reasoning/context.py", "if longer_tokens <= max_tokens:", "if with_steps:", BANK),
    python_mutant("reasoning/bank_file.py", "            self._restore(file)\n", "", BANK_FILE),
    python_mutant("reasoning/bank_file.py", 'content.get("tenant") != self.tenant', "False", BANK_FILE),
    python_mutant(
        "reasoning/embedding.py", "limit] + asking for", "limit] for", ("reasoning/test_real_model.py",)
    ),
    python_mutant("reasoning/background.py", "/ self.spread\n", "\n", ("reasoning/test_bank_model.py",)),
)

PYTHON_MUTANTS: dict[str, tuple[Mutant, ...]] = {
    "scheduler": SCHEDULER_MUTANTS,
    "sampler": SAMPLING,
    "engine": STREAMS,
    "calls": CALL_MUTANTS,
    "server limits": (*RETRY_AFTER, *SERVER),
    "conversations": CONVERSATIONS,
    "behind routers": BEHIND_ROUTERS,
    "MicroLoRA": MICRO_LORA,
    "reasoning bank": REASONING_BANK,
    "learning": LEARNING_MUTANTS,
    "loops": LOOP_MUTANTS,
    "models that come and go": MANAGING_MUTANTS,
    "start": IMAGE_MUTANTS,
    "evaluating": EVALUATING_MUTANTS,
    "autodetect": AUTODETECT_MUTANTS,
    "terminal": TERMINAL_MUTANTS,
}
