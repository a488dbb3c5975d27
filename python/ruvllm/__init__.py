"""RuvLLM: language models on the CPU that you have.

    from ruvllm import LLM

    with LLM("smollm2-135m") as llm:
        print(llm.chat("What is the chemical formula of water?", temperature=0.0).text)

The library logs to the logger `ruvllm` and prints nothing but bars, while a model is fetched and loaded and
where a person looks: in a terminal or a notebook (`progress=False` shows none).
"""

import importlib
import logging
from typing import TYPE_CHECKING, Any

from ruvllm.config import KvCacheConfig, Limits, ModelConfig, PrefixCacheConfig
from ruvllm.errors import (
    AdapterError,
    AuthenticationError,
    BackendError,
    BatchError,
    ConfigError,
    ContextLengthError,
    EmbeddingError,
    GenerationError,
    GrammarError,
    InvalidModelError,
    InvalidOperationError,
    IoError,
    KernelError,
    KvCacheError,
    ModelError,
    NotFoundError,
    OutOfMemoryError,
    OverloadedError,
    PackError,
    PagedAttentionError,
    RuvLLMError,
    SessionError,
    SonaError,
    StorageError,
    TokenizationError,
    TrainingError,
)
from ruvllm.figures import (
    CacheStats,
    EngineStats,
    KernelPackStats,
    LoadedPrefixes,
    MemoryStats,
    ModelInfo,
    PoolStats,
    PrefixCacheStats,
    TenantStats,
)
from ruvllm.grammar import Grammar
from ruvllm.outputs import Chunk, Completion, Timings, TokenLogprob, Usage
from ruvllm.params import GenerateParams
from ruvllm.samplers import Dry, DynamicTemperature, Mirostat, Xtc
from ruvllm.tools import ToolCall, ToolChoice, ToolDefinition
from ruvllm.types import DeviceType, ModelSize, Precision, Quantization

if TYPE_CHECKING:
    from ruvllm import hub, kernels, packs, training
    from ruvllm.adapters import (
        AdaptFeedback,
        EwcState,
        MicroLoRA,
        MicroLoraConfig,
        MicroLoraStats,
        TargetModule,
    )
    from ruvllm.async_engine import AsyncEngine
    from ruvllm.autodetect import InferenceConfig, SystemCapabilities
    from ruvllm.backends.base import LlmBackend
    from ruvllm.backends.native import NativeBackend
    from ruvllm.caching import PrefixCache, RadixTree
    from ruvllm.chat import BatchInference, ChatSession, RagPipeline, ToolConversation
    from ruvllm.evaluating import Evaluation, EvaluationParams, evaluate, measure_importance
    from ruvllm.importance import ImportanceMatrix
    from ruvllm.kernels import CacheQuantization, KvCacheStats, TwoTierKvCache
    from ruvllm.learning import (
        AdaptationResult,
        ConsolidationStrategy,
        LearningLoopStats,
        SonaConfig,
        SonaLlm,
        SonaLlmConfig,
    )
    from ruvllm.llm import LLM
    from ruvllm.quantizing import QuantizedModel, QuantizedTensor, quantize
    from ruvllm.reasoning import Pattern, ReasoningBank, Step, Trajectory, Verdict
    from ruvllm.structured import JsonAnswer, JsonModeConfig
    from ruvllm.training import TrainingConfig, TrainingSample

    __version__: str

__all__ = [
    "LLM",
    "AdaptFeedback",
    "AdaptationResult",
    "AdapterError",
    "AsyncEngine",
    "AuthenticationError",
    "BackendError",
    "BatchError",
    "BatchInference",
    "CacheQuantization",
    "CacheStats",
    "ChatSession",
    "Chunk",
    "Completion",
    "ConfigError",
    "ConsolidationStrategy",
    "ContextLengthError",
    "DeviceType",
    "Dry",
    "DynamicTemperature",
    "EmbeddingError",
    "EngineStats",
    "Evaluation",
    "EvaluationParams",
    "EwcState",
    "GenerateParams",
    "GenerationError",
    "Grammar",
    "GrammarError",
    "ImportanceMatrix",
    "InferenceConfig",
    "InvalidModelError",
    "InvalidOperationError",
    "IoError",
    "JsonAnswer",
    "JsonModeConfig",
    "KernelError",
    "KernelPackStats",
    "KvCacheConfig",
    "KvCacheError",
    "KvCacheStats",
    "LearningLoopStats",
    "Limits",
    "LlmBackend",
    "LoadedPrefixes",
    "MemoryStats",
    "MicroLoRA",
    "MicroLoraConfig",
    "MicroLoraStats",
    "Mirostat",
    "ModelConfig",
    "ModelError",
    "ModelInfo",
    "ModelSize",
    "NativeBackend",
    "NotFoundError",
    "OutOfMemoryError",
    "OverloadedError",
    "PackError",
    "PagedAttentionError",
    "Pattern",
    "PoolStats",
    "Precision",
    "PrefixCache",
    "PrefixCacheConfig",
    "PrefixCacheStats",
    "Quantization",
    "QuantizedModel",
    "QuantizedTensor",
    "RadixTree",
    "RagPipeline",
    "ReasoningBank",
    "RuvLLMError",
    "SessionError",
    "SonaConfig",
    "SonaError",
    "SonaLlm",
    "SonaLlmConfig",
    "Step",
    "StorageError",
    "SystemCapabilities",
    "TargetModule",
    "TenantStats",
    "Timings",
    "TokenLogprob",
    "TokenizationError",
    "ToolCall",
    "ToolChoice",
    "ToolConversation",
    "ToolDefinition",
    "TrainingConfig",
    "TrainingError",
    "TrainingSample",
    "Trajectory",
    "TwoTierKvCache",
    "Usage",
    "Verdict",
    "Xtc",
    "__version__",
    "evaluate",
    "hub",
    "kernels",
    "measure_importance",
    "packs",
    "quantize",
    "training",
]

logging.getLogger("ruvllm").addHandler(logging.NullHandler())

# Names that load more than a plain import needs: the engine, the Hub client.
_LATE = {
    "AdaptFeedback": ("ruvllm.adapters", "AdaptFeedback"),
    "AdaptationResult": ("ruvllm.learning", "AdaptationResult"),
    "AsyncEngine": ("ruvllm.async_engine", "AsyncEngine"),
    "BatchInference": ("ruvllm.chat", "BatchInference"),
    "CacheQuantization": ("ruvllm.kernels", "CacheQuantization"),
    "ChatSession": ("ruvllm.chat", "ChatSession"),
    "ConsolidationStrategy": ("ruvllm.learning", "ConsolidationStrategy"),
    "Evaluation": ("ruvllm.evaluating", "Evaluation"),
    "EvaluationParams": ("ruvllm.evaluating", "EvaluationParams"),
    "EwcState": ("ruvllm.adapters", "EwcState"),
    "InferenceConfig": ("ruvllm.autodetect", "InferenceConfig"),
    "JsonAnswer": ("ruvllm.structured", "JsonAnswer"),
    "JsonModeConfig": ("ruvllm.structured", "JsonModeConfig"),
    "KvCacheStats": ("ruvllm.kernels", "KvCacheStats"),
    "LLM": ("ruvllm.llm", "LLM"),
    "LearningLoopStats": ("ruvllm.learning", "LearningLoopStats"),
    "LlmBackend": ("ruvllm.backends.base", "LlmBackend"),
    "MicroLoRA": ("ruvllm.adapters", "MicroLoRA"),
    "MicroLoraConfig": ("ruvllm.adapters", "MicroLoraConfig"),
    "MicroLoraStats": ("ruvllm.adapters", "MicroLoraStats"),
    "NativeBackend": ("ruvllm.backends.native", "NativeBackend"),
    "Pattern": ("ruvllm.reasoning", "Pattern"),
    "PrefixCache": ("ruvllm.caching", "PrefixCache"),
    "QuantizedModel": ("ruvllm.quantizing", "QuantizedModel"),
    "QuantizedTensor": ("ruvllm.quantizing", "QuantizedTensor"),
    "RadixTree": ("ruvllm.caching", "RadixTree"),
    "RagPipeline": ("ruvllm.chat", "RagPipeline"),
    "SonaConfig": ("ruvllm.learning", "SonaConfig"),
    "SonaLlm": ("ruvllm.learning", "SonaLlm"),
    "SonaLlmConfig": ("ruvllm.learning", "SonaLlmConfig"),
    "SystemCapabilities": ("ruvllm.autodetect", "SystemCapabilities"),
    "TargetModule": ("ruvllm.adapters", "TargetModule"),
    "ToolConversation": ("ruvllm.chat", "ToolConversation"),
    "TrainingConfig": ("ruvllm.training", "TrainingConfig"),
    "TrainingSample": ("ruvllm.training", "TrainingSample"),
    "ReasoningBank": ("ruvllm.reasoning", "ReasoningBank"),
    "Step": ("ruvllm.reasoning", "Step"),
    "Trajectory": ("ruvllm.reasoning", "Trajectory"),
    "Verdict": ("ruvllm.reasoning", "Verdict"),
    "TwoTierKvCache": ("ruvllm.kernels", "TwoTierKvCache"),
    "evaluate": ("ruvllm.evaluating", "evaluate"),
    "hub": ("ruvllm.hub", None),
    "ImportanceMatrix": ("ruvllm.importance", "ImportanceMatrix"),
    "kernels": ("ruvllm.kernels", None),
    "measure_importance": ("ruvllm.evaluating", "measure_importance"),
    "packs": ("ruvllm.packs", None),
    "quantize": ("ruvllm.quantizing", "quantize"),
    "training": ("ruvllm.training", None),
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("ruvllm")
    if name not in _LATE:
        raise AttributeError(f"module 'ruvllm' has no attribute {name!r}")
    module_name, attribute = _LATE[name]
    module = importlib.import_module(module_name)
    value = module if attribute is None else getattr(module, attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
