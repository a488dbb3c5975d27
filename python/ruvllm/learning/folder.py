"""Where what is learned on one model lies: the tenants' states, and the journal."""

import os
from pathlib import Path

__all__ = ["LearnedFolder"]


class LearnedFolder:
    """The folder of one model."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    @property
    def tenants(self) -> Path:
        """What `TenantStates` keeps."""
        return self.path / "tenants"

    @property
    def adapters(self) -> Path:
        """What the deep loop made, each as PEFT has it."""
        return self.path / "adapters"

    @property
    def journal(self) -> Path:
        """What `Journal` writes."""
        return self.path / "journal"
