"""Low-rank adapters: read, named, put on requests, merged and written."""

from ruvllm.adapters.merging import MERGE_METHODS, MergeMethod, merge
from ruvllm.adapters.peft_folder import read_peft
from ruvllm.adapters.peft_writer import write_peft
from ruvllm.adapters.registry import AdapterChoice, AdapterInfo, Adapters
from ruvllm.adapters.weights import AdapterWeights, Part

__all__ = [
    "MERGE_METHODS",
    "AdapterChoice",
    "AdapterInfo",
    "AdapterWeights",
    "Adapters",
    "MergeMethod",
    "Part",
    "merge",
    "read_peft",
    "write_peft",
]
