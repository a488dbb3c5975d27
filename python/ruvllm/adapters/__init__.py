"""Low-rank adapters: read, named, put on requests, merged and written; and small ones that learn."""

from ruvllm.adapters.merging import MERGE_METHODS, MergeMethod, merge
from ruvllm.adapters.micro_config import MicroLoraConfig
from ruvllm.adapters.micro_lora import MicroLoRA
from ruvllm.adapters.micro_values import AdaptFeedback, EwcState, MapName, MicroLoraStats, TargetModule
from ruvllm.adapters.peft_folder import read_peft
from ruvllm.adapters.peft_writer import write_peft
from ruvllm.adapters.registry import AdapterChoice, AdapterInfo, Adapters
from ruvllm.adapters.source import read_adapter
from ruvllm.adapters.weights import AdapterWeights, Part

__all__ = [
    "MERGE_METHODS",
    "AdaptFeedback",
    "AdapterChoice",
    "AdapterInfo",
    "AdapterWeights",
    "Adapters",
    "EwcState",
    "MapName",
    "MergeMethod",
    "MicroLoRA",
    "MicroLoraConfig",
    "MicroLoraStats",
    "Part",
    "TargetModule",
    "merge",
    "read_adapter",
    "read_peft",
    "write_peft",
]
