"""What a loaded model does to learn. `LLM` has these methods."""

from ruvllm.learning.config import SonaLlmConfig
from ruvllm.learning.sona import SonaLlm
from ruvllm.learning.tenants import Learning

__all__ = ["LearningMethods"]


class LearningMethods:
    """Learning on the model of `_learning`."""

    _learning: Learning

    @property
    def learning(self) -> Learning:
        """Which tenants learn from feedback; none, as long as nobody asks for it."""
        return self._learning

    def learn(self, config: SonaLlmConfig | None = None, *, tenant: str = "default") -> SonaLlm:
        """Learn from a tenant's feedback from here on; the same as `SonaLlm(llm, config, tenant=tenant)`."""
        return SonaLlm(self, config, tenant=tenant)
