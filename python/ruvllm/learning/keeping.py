"""Keeps on disk what a model's tenants learn: the state after each turn of a loop, and a line in the journal.

Learning itself knows of no disk: this watches it. A turn is done when its state is on the disk, so what a
feedback was answered with outlives `kill -9`; and none is begun that the journal has no room for.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from ruvllm.errors import StorageError
from ruvllm.learning.config import SonaLlmConfig
from ruvllm.learning.event import LearningEvent
from ruvllm.learning.folder import LearnedFolder
from ruvllm.learning.journal import Journal, JournalSettings, JournalStats
from ruvllm.learning.journal_entry import JournalEntry
from ruvllm.learning.lineage import Lineage, led_to
from ruvllm.learning.state import TenantStates, stored_tenants
from ruvllm.learning.tenant_learner import TenantLearner
from ruvllm.learning.tenants import Learning
from ruvllm.runtime.model_digest import model_digest

__all__ = ["LearningKeeper"]

logger = logging.getLogger(__name__)


class LearningKeeper:
    """What one model's tenants learn, kept in a folder; of all threads.

        with LearningKeeper(llm.learning, "learned", llm.model_info.path) as keeper:
            sona = SonaLlm(llm, tenant="acme")
            keeper.follow("acme")

    The folder is of this model alone, and of one process at a time.
    """

    def __init__(
        self,
        learning: Learning,
        folder: str | Path,
        model: Path,
        *,
        config: SonaLlmConfig | None = None,
        journal: JournalSettings | None = None,
    ) -> None:
        """Open a folder and go on with all tenants that are in it.

        `StorageError` where it cannot be used, or has what was learned on another model.
        """
        self._learning = learning
        self._config = config or SonaLlmConfig()
        self._lock = threading.Lock()
        self._followed: dict[str, TenantLearner] = {}
        # Of what each has now, kept or taken from elsewhere; a tenant's under its learner's lock.
        self._lineages: dict[str, Lineage] = {}
        self._name = Path(folder).name
        self._told = threading.local()
        self._is_closed = False
        place = LearnedFolder(folder)
        learning.adapters.folder = place.adapters
        try:
            digest = model_digest(model)
        except OSError as error:
            raise StorageError(f"{model} cannot be read: {error.strerror or error}") from error
        kept = self._config.sona.max_generations + 1
        self._states = TenantStates(place.tenants, model=digest, max_generations=kept)
        try:
            self._journal = Journal(place.journal, journal)
        except BaseException:
            self._states.close()
            raise
        try:
            for saved in stored_tenants(place.tenants):
                self.follow(saved.state.tenant)
        except BaseException:
            self.close()
            raise

    def follow(self, tenant: str) -> TenantLearner:
        """The tenant's learner; it goes on from what is on the disk, and what it learns is kept there."""
        with self._lock:
            learner = self._followed.get(tenant)
            if learner is None:
                state = self._states.load(tenant)
                learner = self._learning.learner(tenant, self._config)
                if state is not None:
                    learner.restore(state, self._states.earlier(tenant))
                    needed = {one.deep for one in learner.snapshots(-1)}
                    self._learning.adapters.clean(tenant, needed)
                self._lineages[tenant] = self._states.lineage(tenant)
                self._followed[tenant] = learner
                learner.watch(self._keep)
            return learner

    def go_on_from(self, tenant: str, folder: str | Path) -> None:
        """Go on from what another process keeps of a tenant in its own folder, where that came of ours.

        Where both have counted on from one state, each keeps its own. So does who has, or would need, an
        adapter of the deep loop's, which lies in one folder alone. It is kept here with the next change.
        """
        states, lineage = self._states.elsewhere(tenant, LearnedFolder(folder).tenants)
        learner = self.follow(tenant)
        with learner.lock:
            ours = learner.state
            if not states or states[-1].generation <= ours.generation:
                return
            why_not = None
            if not led_to(self._lineages[tenant], lineage):
                why_not = "both were taught since they were one"
            elif states[-1].deep is not None or ours.deep is not None:
                why_not = "the deep loop's adapter stays where it was made"
            if why_not is not None:
                logger.warning(
                    "generation %d of %r in %s is not taken: %s",
                    states[-1].generation,
                    tenant,
                    folder,
                    why_not,
                )
                return
            learner.restore(states[-1], [one for one in states[:-1] if one.deep is None])
            self._lineages[tenant] = lineage

    @contextmanager
    def telling(self, completion_id: str | None, *, seconds: float | None = None) -> Iterator[None]:
        """Have room in the journal for what this thread does in the block, which is about that answer.

        `StorageError` where there is none in time, so that nothing is learned of which nothing is told.
        """
        with self._journal.room(seconds) as record:
            self._told.completion_id, self._told.record = completion_id, record
            try:
                yield
            finally:
                self._told.completion_id = self._told.record = None

    def journal_stats(self) -> JournalStats:
        """What the journal has done."""
        return self._journal.stats()

    def flush(self) -> None:
        """Wait until the journal has all lines; the states are on the disk already."""
        self._journal.flush()

    def close(self) -> None:
        """Write what waits, and let another process have the folder; what is learned later is not kept."""
        self._is_closed = True
        self._learning.adapters.folder = None
        with self._lock:
            for learner in self._followed.values():
                learner.unwatch(self._keep)
        try:
            self._journal.close()
        finally:
            self._states.close()

    def __enter__(self) -> "LearningKeeper":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _keep(self, event: LearningEvent) -> None:
        """Take a turn of a loop, in the thread that made it and under the tenant's lock: in their order."""
        if self._is_closed:
            return
        entry = _entry(event)
        if (told := getattr(self._told, "completion_id", None)) is not None:
            entry = replace(entry, completion_id=told)
        record: Callable[[JournalEntry], None] | None = getattr(self._told, "record", None)
        self._told.record = None  # there was room for one
        tenant = event.state.tenant
        lineage = {**self._lineages[tenant], self._name: event.state.generation}
        try:
            self._states.save(event.state, self._followed[tenant].snapshots(-1)[:-1], lineage)
            self._lineages[tenant] = lineage
        except StorageError as error:
            entry = replace(entry, reason=f"not kept: {error.message}")
            raise
        finally:
            (record or self._journal.record)(entry)


def _entry(event: LearningEvent) -> JournalEntry:
    result = event.result
    is_instant = result.loop_type == "instant"
    return JournalEntry(
        tenant=event.state.tenant,
        loop=result.loop_type,
        applied=result.applied,
        reason="; ".join(result.notes) or None,
        completion_id=event.completion_id,
        feedback=event.feedback,
        advantage=result.quality_delta if is_instant else None,
        generation_before=event.generation_before,
        generation_after=result.generation,
        kl=result.divergence if is_instant else None,
        drift=result.drift if is_instant else None,
        log_prob_change=result.logprob_change if is_instant else None,
        num_samples=result.samples_used,
        latency_us=round(result.latency_us),
    )
