"""Learning while serving: what feedback teaches a tenant's requests."""

from ruvllm.learning.config import SonaConfig, SonaLlmConfig
from ruvllm.learning.event import LearningEvent
from ruvllm.learning.journal import Journal, JournalSettings
from ruvllm.learning.journal_entry import JournalEntry
from ruvllm.learning.journal_files import read_journal
from ruvllm.learning.keeping import LearningKeeper
from ruvllm.learning.sona import SonaLlm
from ruvllm.learning.tenant_learner import TenantLearner
from ruvllm.learning.tenant_state import TenantState
from ruvllm.learning.tenants import Learning
from ruvllm.learning.values import AdaptationResult, ConsolidationStrategy, DeepResult, LearningLoopStats

__all__ = [
    "AdaptationResult",
    "ConsolidationStrategy",
    "DeepResult",
    "Journal",
    "JournalEntry",
    "JournalSettings",
    "Learning",
    "LearningEvent",
    "LearningKeeper",
    "LearningLoopStats",
    "SonaConfig",
    "SonaLlm",
    "SonaLlmConfig",
    "TenantLearner",
    "TenantState",
    "read_journal",
]
