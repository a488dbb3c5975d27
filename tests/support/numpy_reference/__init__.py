"""A forward pass in NumPy that shares no line with the engine: what tests of model variants compare with.

It follows the papers and the semantics of transformers 5 (eager attention, float32 parameters) in float64,
for the families llama, mistral, qwen2, qwen3, phi3, gemma2 and gemma3_text. It is slow and plain on purpose:
no cache, no blocks, every token computed anew for every logit that is asked for.
"""

from .folder import read_config, read_weights
from .model import Reference
from .rope import inverse_frequencies
from .settings import Settings, read_settings

__all__ = ["Reference", "Settings", "inverse_frequencies", "read_config", "read_settings", "read_weights"]
