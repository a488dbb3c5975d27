"""What this machine is, and how a model is best run on it; nothing is loaded for that.

`InferenceConfig.auto("model.gguf")` reads the head of a model's files and plans with the planner that `LLM`
plans with, so that what it says is what loading does.
"""

from ruvllm.autodetect.inference_config import InferenceConfig
from ruvllm.autodetect.system_capabilities import SystemCapabilities

__all__ = ["InferenceConfig", "SystemCapabilities"]
