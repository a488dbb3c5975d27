"""What other programs of this machine have: a model that Ollama or LM Studio fetched is not fetched again."""

from pathlib import Path
from typing import NamedTuple

from ruvllm.hub import lm_studio, ollama
from ruvllm.hub.reference import HubModel

__all__ = ["Owner", "find", "owner_of"]


def find(name: str, reference: HubModel) -> Path | None:
    """Their file for a name that stands for one of the Hub's, if one of them has it."""
    if path := lm_studio.find(reference):
        return path
    found = None
    if reference.revision is None and reference.file_name is None:
        # Ollama has what it took from the Hub under the Hub's name, and its own under names like ours. Its
        # `org/repo` is another publisher's than the Hub's.
        tag = reference.quantization or ollama.LATEST
        found = ollama.find(f"hf.co/{reference.repo_id}:{tag}")
        if found is None and "/" not in name:
            found = ollama.find(name)
    return found.path if found else None


class Owner(NamedTuple):
    """Another program, and its folder of models."""

    name: str
    folder: Path


def owner_of(path: Path) -> Owner | None:
    """The program in whose folder a file lies."""
    owners = [Owner("Ollama", folder) for folder in ollama.folders()]
    owners += [Owner("LM Studio", folder) for folder in lm_studio.folders()]
    return next((owner for owner in owners if path.is_relative_to(owner.folder)), None)
