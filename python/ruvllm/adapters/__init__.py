"""Low-rank adapters: read, named, and put on requests."""

from ruvllm.adapters.registry import AdapterChoice, AdapterInfo, Adapters
from ruvllm.adapters.weights import AdapterWeights, Part

__all__ = ["AdapterChoice", "AdapterInfo", "AdapterWeights", "Adapters", "Part"]
