"""Mutants of who goes first, who has how much of a step, and how long whoever is refused should wait."""

from tests.mutants.mutant import python_mutant

__all__ = ["SCHEDULER_MUTANTS"]

SCHEDULER = "engine/test_scheduler.py"
FAIR = "engine/test_fair_scheduling.py"
SHARES = "engine/test_step_shares.py"
BUDGET = "engine/test_step_budget.py"

ADMISSION = (
    python_mutant("runtime/admission.py", "self._swap_free -= one.blocks", "pass", (SCHEDULER,)),
    python_mutant(
        "runtime/view.py",
        "max(0, swap_bytes - status.swapped_bytes)",
        "swap_bytes",
        ("memory/test_pressure.py",),
    ),
    python_mutant(
        "runtime/loop.py",
        "self._is_stuck &= status.rows == rows",
        "self._is_stuck = False",
        ("engine/test_loop.py",),
    ),
    python_mutant(
        "runtime/view.py",
        "cached = max(0, status.room_blocks - status.free_blocks",
        "cached = max(0, status.total_blocks - status.free_blocks",
        ("adapters/test_memory.py",),
    ),
    python_mutant("runtime/admission.py", "fits and swap_seconds <", "fits and swap_seconds >", (SCHEDULER,)),
    python_mutant(
        "runtime/admission.py", "swap_seconds = 2 * one.blocks", "swap_seconds = one.blocks", (SCHEDULER,)
    ),
    python_mutant("runtime/admission.py", "        self._relieve()\n", "", (SCHEDULER,)),
    python_mutant(
        "runtime/admission.py", "while len(inside.active) > 1 and", "while inside.active and", (SCHEDULER,)
    ),
    python_mutant(
        "runtime/admission.py", "key=lambda one: -one.priority)", "key=lambda one: 0)", (SCHEDULER,)
    ),
    python_mutant(
        "runtime/admission.py",
        "-first.rank, self._inside.load[tenant], waits_since",
        "-first.rank, waits_since",
        (SCHEDULER, FAIR),
    ),
    python_mutant(
        "runtime/admission.py",
        "-first.rank, self._inside.load[tenant], waits_since",
        "self._inside.load[tenant], waits_since",
        (SCHEDULER, FAIR),
    ),
    python_mutant(
        "runtime/admission.py",
        "max(first.since, self._view.last_turns.get(tenant, 0))",
        "first.since",
        (SCHEDULER, FAIR),
    ),
    python_mutant(
        "runtime/admission.py",
        "max(first.since, self._view.last_turns.get(tenant, 0))",
        "self._view.last_turns.get(tenant, 0)",
        (SCHEDULER, FAIR),
    ),
    python_mutant(
        "runtime/loop.py",
        "                self._turns.note(one.tenant, next(self._ids))\n",
        "",
        ("engine/test_loop.py",),
    ),
    python_mutant(
        "runtime/loop.py",
        "            self._turns.note(request.task.tenant, next(self._ids))\n",
        "",
        ("backends/test_streaming_engine.py",),
    ),
    python_mutant(
        "runtime/admission.py", "elif inside.exceeds_quota(tenant, longest):", "elif False:", (SCHEDULER,)
    ),
    python_mutant(
        "runtime/admission.py",
        "for name in levels(one.tenant):\n            self._quota_used",
        "for name in (one.tenant,):\n            self._quota_used",
        (SCHEDULER,),
    ),
    python_mutant(
        "runtime/admission.py",
        "self.wanted(candidate) + self._growth <= self.free",
        "self.wanted(candidate) <= self.free",
        (SCHEDULER,),
    ),
    python_mutant(
        "runtime/admission.py",
        "self._held[one.tenant] - one.blocks",
        "self._held[one.tenant]",
        (SCHEDULER, FAIR),
    ),
    python_mutant(
        "runtime/admission.py", "return left >= will_have or", "return left > will_have or", (SCHEDULER, FAIR)
    ),
    python_mutant(
        "runtime/admission.py",
        "(not self.load[candidate.tenant] and self._had_its_turn(one))",
        "False",
        (SCHEDULER, FAIR),
    ),
    python_mutant(
        "runtime/admission.py",
        "one.total_tokens - one.entered_tokens >= max(1, turn)",
        "True",
        (SCHEDULER, FAIR),
    ),
    python_mutant(
        "runtime/admission.py",
        "len(self.active) + self._entered < self._limits.max_running",
        "len(self.active) < self._limits.max_running",
        (SCHEDULER,),
    ),
)

WAITING = (
    python_mutant(
        "runtime/waiting.py",
        "sorted(by_priority, reverse=True)",
        "sorted(by_priority)",
        ("engine/test_waiting.py",),
    ),
    python_mutant(
        "runtime/waiting.py", "<= self._limits.max_waiting // tenants", "<= 0", ("engine/test_waiting.py",)
    ),
    python_mutant(
        "runtime/waiting.py",
        "<= self._limits.max_waiting_tokens // tenants",
        "<= 0",
        ("engine/test_waiting.py",),
    ),
    python_mutant(
        "runtime/waiting.py",
        "self._tokens += num_tokens",
        "self._tokens += abs(num_tokens)",
        ("engine/test_waiting.py",),
    ),
    python_mutant(
        "runtime/waiting.py",
        "self._reserved_tokens += sign * task.reserved_tokens",
        "self._reserved_tokens += task.reserved_tokens",
        ("engine/test_waiting.py",),
    ),
    python_mutant(
        "runtime/waiting.py",
        "max(SHOWN_OF_EACH, SHOWN // max(1, len(self._tenants)))",
        "SHOWN",
        ("engine/test_waiting.py",),
    ),
)

STEPS = (
    python_mutant(
        "runtime/step_shares.py",
        "max_steps = min(max_steps, max(1, int(TURN_SECONDS / seconds)))",
        "pass",
        (SCHEDULER,),
    ),
    python_mutant(
        "runtime/step_shares.py",
        "(-one.priority, one.planned_at, one.request_id)",
        "(-one.priority, one.request_id)",
        (FAIR,),
    ),
    python_mutant(
        "runtime/step_shares.py",
        "max_steps = min([max_steps, *(steps for",
        "max_steps = max([max_steps, *(steps for",
        (SCHEDULER,),
    ),
    python_mutant(
        "runtime/step_shares.py", "shortest = min(by_itself)", "shortest = max(by_itself)", (FAIR,)
    ),
    python_mutant(
        "runtime/step_shares.py", "rows_within(len(tenants) * shortest)", "rows_within(1e9)", (SHARES,)
    ),
    python_mutant(
        "runtime/step_shares.py",
        "min(prompt_rows, max(rows - answers, rows // 2))",
        "min(prompt_rows, max(0, rows - answers))",
        (FAIR,),
    ),
    python_mutant(
        "runtime/step_shares.py",
        "most = min(most, _prompt_tokens(split, times, within_time))",
        "pass",
        (BUDGET,),
    ),
    python_mutant(
        "runtime/step_shares.py",
        "max_steps = min(max_steps, max(1, int(limits.step_seconds / times.seconds(sum(map(sum, split))))))",
        "pass",
        (BUDGET,),
    ),
    python_mutant(
        "runtime/step_shares.py",
        "max_steps = 1 if is_unmeasured else limits.horizon_steps",
        "max_steps = limits.horizon_steps",
        (BUDGET,),
    ),
    python_mutant("runtime/step_shares.py", "UNMEASURED_TOKENS = 16", "UNMEASURED_TOKENS = 512", (BUDGET,)),
    python_mutant("runtime/step_shares.py", "PROMPT_SHARE = 0.25", "PROMPT_SHARE = 0.0", (BUDGET,)),
    python_mutant(
        "runtime/step_times.py",
        "seconds = min(seconds, LONGEST_OF_KNOWN * known_seconds)",
        "pass",
        ("engine/test_step_times.py",),
    ),
    python_mutant(
        "runtime/step_times.py", "self._correct_larger(size)", "pass", ("engine/test_step_times.py",)
    ),
    python_mutant(
        "runtime/step_times.py",
        "known_rows + WEIGHT * (rows - known_rows)",
        "known_rows",
        ("engine/test_step_times.py",),
    ),
    python_mutant(
        "runtime/step_times.py",
        "known_seconds + WEIGHT * (seconds - known_seconds)",
        "known_seconds",
        ("engine/test_step_times.py",),
    ),
    python_mutant(
        "runtime/step_times.py",
        "sorted(self._points.values())), max)",
        "sorted(self._points.values())))",
        ("engine/test_step_times.py",),
    ),
    python_mutant(
        "runtime/step_times.py",
        "low + (high - low) * (rows",
        "low + (low - high) * (rows",
        ("engine/test_step_times.py",),
    ),
)

PACE = (
    python_mutant(
        "runtime/pace.py",
        "min(max(tokens / self.tokens_per_second, MIN_WAIT_SECONDS), MAX_WAIT_SECONDS)",
        "MIN_WAIT_SECONDS",
        ("engine/test_pace.py",),
    ),
    python_mutant(
        "runtime/pace.py",
        "self._measured or ASSUMED_TOKENS_PER_SECOND",
        "ASSUMED_TOKENS_PER_SECOND",
        ("engine/test_pace.py",),
    ),
    python_mutant(
        "runtime/pace.py",
        "self._measured + WEIGHT * (rate - self._measured)",
        "self._measured",
        ("engine/test_pace.py",),
    ),
    python_mutant(
        "runtime/loop.py",
        "self._pace.wait_seconds(self._waiting.mean_reserved_tokens)",
        "1.0",
        ("memory/test_pressure.py",),
    ),
    python_mutant(
        "runtime/loop.py",
        "self._pace.wait_seconds(self._waiting.mean_reserved_tokens)",
        "self._pace.wait_seconds(len(task.token_ids))",
        ("memory/test_pressure.py",),
    ),
)

SCHEDULER_MUTANTS = (*ADMISSION, *WAITING, *STEPS, *PACE)
