"""The mutants of the package: features taken out one by one, each beside the tests that stand for it."""

from tests.mutants.mutant import Mutant

__all__ = ["MUTANTS"]

SAMPLING = (
    Mutant(
        "runtime/native_engine.py",
        "presence_penalty=params.presence_penalty",
        "presence_penalty=0.0",
        ("sampling/test_distributions.py",),
    ),
    Mutant(
        "runtime/native_engine.py",
        "frequency_penalty=params.frequency_penalty",
        "frequency_penalty=0.0",
        ("sampling/test_distributions.py",),
    ),
    Mutant(
        "runtime/native_engine.py",
        "repetition_penalty=params.repetition_penalty",
        "repetition_penalty=1.0",
        ("sampling/test_distributions.py",),
    ),
    Mutant(
        "runtime/native_engine.py", "min_p=params.min_p", "min_p=0.0", ("sampling/test_distributions.py",)
    ),
    Mutant("runtime/native_engine.py", "top_k=params.top_k", "top_k=0", ("sampling/test_distributions.py",)),
    Mutant(
        "runtime/native_engine.py",
        "cache_min_tokens=params.min_cache_tokens if params.cache_prefix else None",
        "cache_min_tokens=16 if params.cache_prefix else None",
        ("memory/test_prefix_params.py",),
    ),
    Mutant(
        "runtime/native_engine.py",
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
    Mutant("runtime/closing.py", "self.close()", "pass", ("engine/test_loop.py",)),
    Mutant(
        "runtime/streams.py",
        "is_urgent = not self._has_begun or is_last(events[-1])",
        "is_urgent = False",
        ("engine/test_async_sinks.py",),
    ),
    Mutant(
        "runtime/streams.py",
        "if len(batches) > 1 and isinstance(batches[-1][0][-1], Failed):",
        "if False:",
        ("engine/test_async_sinks.py",),
    ),
    Mutant(
        "runtime/mailbox.py",
        "if self._interval and not self._is_resting:",
        "if False:",
        ("engine/test_async_sinks.py",),
    ),
    Mutant(
        "runtime/streams.py",
        "computed_prompt_tokens=event.prompt_tokens - event.cached_tokens",
        "computed_prompt_tokens=event.prompt_tokens",
        ("memory/test_prefix_params.py",),
    ),
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
        "thinks=thinks(self.model_extra)",
        "thinks=True",
        ("serve/test_thinking.py",),
    ),
    Mutant(
        "serve/schemas/messages.py",
        "thinks=thinks(self.model_extra)",
        "thinks=True",
        ("serve/test_thinking.py",),
    ),
    Mutant(
        "serve/schemas/responses.py",
        "thinks=thinks(self.model_extra)",
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

SCHEDULER = "engine/test_scheduler.py"
FAIR = "engine/test_fair_scheduling.py"

ADMISSION = (
    Mutant("runtime/admission.py", "self._swap_free -= one.blocks", "pass", (SCHEDULER,)),
    Mutant(
        "runtime/loop.py",
        "max(0, self._swap_bytes - status.swapped_bytes)",
        "self._swap_bytes",
        ("memory/test_pressure.py",),
    ),
    Mutant("runtime/admission.py", "fits and swap_seconds <", "fits and swap_seconds >", (SCHEDULER,)),
    Mutant(
        "runtime/admission.py", "swap_seconds = 2 * one.blocks", "swap_seconds = one.blocks", (SCHEDULER,)
    ),
    Mutant("runtime/admission.py", "        self._relieve()\n", "", (SCHEDULER,)),
    Mutant(
        "runtime/admission.py", "while len(inside.active) > 1 and", "while inside.active and", (SCHEDULER,)
    ),
    Mutant("runtime/admission.py", "key=lambda one: -one.priority)", "key=lambda one: 0)", (SCHEDULER,)),
    Mutant(
        "runtime/admission.py",
        "(-queues[name][0].rank, inside.load[name], queues[name][0].since)",
        "(-queues[name][0].rank, queues[name][0].since)",
        (SCHEDULER, FAIR),
    ),
    Mutant(
        "runtime/admission.py",
        "(-queues[name][0].rank, inside.load[name], queues[name][0].since)",
        "(inside.load[name], queues[name][0].since)",
        (SCHEDULER, FAIR),
    ),
    Mutant(
        "runtime/admission.py",
        "(-queues[name][0].rank, inside.load[name], queues[name][0].since)",
        "(-queues[name][0].rank, inside.load[name])",
        (SCHEDULER, FAIR),
    ),
    Mutant(
        "runtime/admission.py", "elif inside.exceeds_quota(tenant, longest):", "elif False:", (SCHEDULER,)
    ),
    Mutant(
        "runtime/admission.py",
        "for name in levels(one.tenant):\n            self._quota_used",
        "for name in (one.tenant,):\n            self._quota_used",
        (SCHEDULER,),
    ),
    Mutant(
        "runtime/admission.py",
        "self.wanted(candidate) + self._growth <= self.free",
        "self.wanted(candidate) <= self.free",
        (SCHEDULER,),
    ),
    Mutant(
        "runtime/admission.py",
        "self._held[one.tenant] - one.blocks",
        "self._held[one.tenant]",
        (SCHEDULER, FAIR),
    ),
    Mutant(
        "runtime/admission.py", "return left >= will_have or", "return left > will_have or", (SCHEDULER, FAIR)
    ),
    Mutant(
        "runtime/admission.py",
        "(not self.load[candidate.tenant] and self._had_its_turn(one))",
        "False",
        (SCHEDULER, FAIR),
    ),
    Mutant(
        "runtime/admission.py",
        "one.total_tokens - one.entered_tokens >= max(1, turn)",
        "True",
        (SCHEDULER, FAIR),
    ),
    Mutant(
        "runtime/admission.py",
        "len(self.active) + self._entered < self._limits.max_running",
        "len(self.active) < self._limits.max_running",
        (SCHEDULER,),
    ),
)

WAITING = (
    Mutant(
        "runtime/waiting.py",
        "sorted(by_priority, reverse=True)",
        "sorted(by_priority)",
        ("engine/test_waiting.py",),
    ),
    Mutant(
        "runtime/waiting.py", "<= self._limits.max_waiting // tenants", "<= 0", ("engine/test_waiting.py",)
    ),
    Mutant(
        "runtime/waiting.py",
        "<= self._limits.max_waiting_tokens // tenants",
        "<= 0",
        ("engine/test_waiting.py",),
    ),
    Mutant(
        "runtime/waiting.py",
        "self._tokens += num_tokens",
        "self._tokens += abs(num_tokens)",
        ("engine/test_waiting.py",),
    ),
    Mutant(
        "runtime/waiting.py",
        "self._reserved_tokens += sign * task.reserved_tokens",
        "self._reserved_tokens += task.reserved_tokens",
        ("engine/test_waiting.py",),
    ),
    Mutant(
        "runtime/waiting.py",
        "max(SHOWN_OF_EACH, SHOWN // max(1, len(self._tenants)))",
        "SHOWN",
        ("engine/test_waiting.py",),
    ),
)

STEPS = (
    Mutant(
        "runtime/step_shares.py",
        "max_steps = min(max_steps, max(1, int(TURN_SECONDS / seconds)))",
        "pass",
        (SCHEDULER,),
    ),
    Mutant(
        "runtime/step_shares.py",
        "(-one.priority, one.planned_at, one.request_id)",
        "(-one.priority, one.request_id)",
        (FAIR,),
    ),
    Mutant(
        "runtime/step_shares.py",
        "max_steps = min([max_steps, *(steps for",
        "max_steps = max([max_steps, *(steps for",
        (SCHEDULER,),
    ),
    Mutant("runtime/step_shares.py", "shortest = min(times", "shortest = max(times", (FAIR,)),
    Mutant(
        "runtime/step_shares.py",
        "min(prompt_rows, max(rows - answers, rows // 2))",
        "min(prompt_rows, max(0, rows - answers))",
        (FAIR,),
    ),
    Mutant(
        "runtime/step_times.py",
        "known_rows + WEIGHT * (rows - known_rows)",
        "known_rows",
        ("engine/test_step_times.py",),
    ),
    Mutant(
        "runtime/step_times.py",
        "known_seconds + WEIGHT * (seconds - known_seconds)",
        "known_seconds",
        ("engine/test_step_times.py",),
    ),
    Mutant(
        "runtime/step_times.py",
        "sorted(self._points.values())), max)",
        "sorted(self._points.values())))",
        ("engine/test_step_times.py",),
    ),
    Mutant(
        "runtime/step_times.py",
        "low + (high - low) * (rows",
        "low + (low - high) * (rows",
        ("engine/test_step_times.py",),
    ),
)

STORED = "serve/test_stored_responses.py"
KEPT = "serve/test_responses_kept.py"

SERVER = (
    Mutant(
        "serve/limits.py", "self._limits.give_back(self._key, self._held)", "pass", ("serve/test_access.py",)
    ),
    Mutant("serve/limits.py", "if self._left < count:", "if self._left < 0:", ("serve/test_access.py",)),
    Mutant("serve/limits.py", "if under_way + count > most:", "if count > most:", ("serve/test_access.py",)),
    Mutant("serve/limits.py", "min(self._per_minute, refilled)", "refilled", ("serve/test_access.py",)),
    Mutant("serve/stored_responses.py", "shelf.kept.move_to_end(response_id)", "pass", (STORED, KEPT)),
    Mutant("serve/stored_responses.py", "kept.used = next(self._uses)", "pass", (STORED, KEPT)),
    Mutant(
        "serve/stored_responses.py",
        "        self._drop(tenant, response_id)\n        shelf =",
        "        shelf =",
        (STORED, KEPT),
    ),
    Mutant("serve/stored_responses.py", "shelf.num_bytes -= gone.num_bytes", "pass", (STORED, KEPT)),
    Mutant(
        "serve/stored_responses.py",
        "self._evict(lambda shelf: shelf.num_bytes)",
        "self._evict(lambda shelf: len(shelf.kept))",
        (STORED, KEPT),
    ),
    Mutant(
        "serve/stored_responses.py",
        "-self._shelves[name].oldest.used",
        "self._shelves[name].oldest.used",
        (STORED, KEPT),
    ),
)

FIELDS, WORKER = "serve/test_fields.py", "serve/test_worker.py"

BEHIND_ROUTERS = (
    Mutant("serve/schemas/base.py", "if not is_harmless(name, value):", "if value is not None:", (FIELDS,)),
    Mutant("serve/schemas/base.py", "max(0, self.top_k or 0)", "self.top_k or 0", (FIELDS, WORKER)),
    Mutant(
        "serve/schemas/refusals.py",
        "isinstance(harmless, bool) == is_truth and value == harmless",
        "value == harmless",
        (FIELDS,),
    ),
    Mutant("serve/routes/health.py", "if server.leaving.is_set():", "if False:", ("serve/test_process.py",)),
    Mutant(
        "serve/running.py",
        "self._leaves_at = time.monotonic() + self._drain_delay",
        "self._leaves_at = time.monotonic()",
        ("serve/test_process.py",),
    ),
    Mutant(
        "serve/rendering.py",
        "min(params.max_tokens, room)",
        "params.max_tokens",
        (WORKER,),
    ),
)

MUTANTS = (
    *SAMPLING,
    *WAITING_TIMES,
    *STREAMS,
    *CONVERSATIONS,
    *ADMISSION,
    *WAITING,
    *STEPS,
    *SERVER,
    *BEHIND_ROUTERS,
)
