"""The settings of an engine, each spelt once: for `LLM`, `AsyncEngine`, the command line, the server.

Whoever adds a setting adds a field to `EngineSettings` and, for type checkers, its line to `EngineKeywords`:
no checker takes a function's keywords from a dataclass, and a test compares the two. `LLM` and `AsyncEngine`
take `**settings: Unpack[EngineKeywords]`, by which a wrong name or value is refused where it is written, and
`takes_settings` gives `help(LLM)` and `inspect.signature` the whole list. Explicit keywords would be a third
and a fourth list of the same. Flags and variables with their help and choices follow by themselves; the table
in docs/python.md is compared by a test.
"""

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, TypedDict

from ruvllm._settings import check_settings, described, setting, settings_of
from ruvllm.config import Limits, PrefixCacheConfig

__all__ = [
    "Activations",
    "EngineKeywords",
    "EngineSettings",
    "Isa",
    "KvFormat",
    "KvFormats",
    "KvTailFormat",
    "Speculation",
    "WeightImage",
]

Activations: TypeAlias = Literal["auto", "f32"]
KvFormat: TypeAlias = Literal["auto", "int16", "f32", "int8", "k8v4", "q4", "q3"]
KvTailFormat: TypeAlias = Literal["int8", "int16", "f32"]
KvFormats: TypeAlias = tuple[KvFormat, int | None, KvTailFormat | None]
"""How the key-value cache is kept: its format, tokens of its tail, and the tail's format."""
Speculation: TypeAlias = Literal["auto", "off"]
WeightImage: TypeAlias = Literal["use", "keep", "off"]
Isa: TypeAlias = Literal[
    "avx512",
    "avx2-vnni",
    "avx512-base",
    "avx2",
    "sse42",
    "neon-i8mm",
    "neon-dotprod",
    "neon",
    "portable",
    "scalar",
]
"""Every instruction set that there is code for; which of them a machine has, the engine says."""

_NO_GPU = "the engine runs on the processor: leave it out"
_OF_A_FILE = "a file is run as it is: give the name of another, as org/repo:Q4_K_M, or see ruvllm.quantize"
_OF_ANSWERS = "it belongs to the calls that make text, and to GenerateParams"
_ELSEWHERE = MappingProxyType(
    {
        **dict.fromkeys(
            ("n_ctx", "num_ctx", "ctx_size", "max_model_len", "max_seq_len"), "it is 'max_context' here"
        ),
        **dict.fromkeys(
            ("n_threads", "n_threads_batch", "num_threads", "num_thread"), "it is 'threads' here"
        ),
        **dict.fromkeys(("model_path", "model_id", "model_name"), "it is 'model' here"),
        **dict.fromkeys(
            ("type_k", "type_v", "cache_type_k", "cache_type_v", "kv_cache_dtype"), "it is 'kv_format' here"
        ),
        "speculative_config": "guesses of next tokens are 'speculation' here",
        **dict.fromkeys(
            ("n_gpu_layers", "main_gpu", "tensor_split", "tensor_parallel_size", "gpu_memory_utilization"),
            _NO_GPU,
        ),
        "device_map": _NO_GPU,
        "device": "it is ModelConfig(device=...) here",
        **dict.fromkeys(("dtype", "torch_dtype", "load_in_4bit", "load_in_8bit", "quantization"), _OF_A_FILE),
        **dict.fromkeys(("seed", "temperature", "top_p", "max_tokens", "stop"), _OF_ANSWERS),
        "lora_path": "load adapters afterwards: llm.adapters.load(name, folder)",
        "enable_prefix_caching": "what prompts begin with is kept in any case: see 'prefix_cache'",
        "max_num_seqs": "it is limits=Limits(max_running=...) here",
        "verbose": "the library prints nothing: see 'progress', and the logger 'ruvllm'",
    }
)
"""Names that other libraries have, and what to do here."""


class EngineKeywords(TypedDict, total=False):
    """The keywords of `LLM` that are settings of its engine: `EngineSettings` again, for type checkers."""

    threads: int | None
    isa: Isa | None
    max_context: int | None
    activations: Activations
    kv_format: KvFormat
    kv_tail: int | None
    kv_tail_format: KvTailFormat | None
    kv_cache_bytes: int | None
    adapter_bytes: int | None
    kernel_pack: str | os.PathLike[str] | None
    weight_image: WeightImage
    speculation: Speculation
    draft: str | os.PathLike[str] | None
    chat_template: str | os.PathLike[str] | None
    prefix_cache: PrefixCacheConfig | None
    limits: Limits | None
    backend: str


@described
@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """How an engine is set up; `None` and `auto` leave the choice to it.

    >>> EngineSettings(kv_format="int8").keywords()["kv_format"]
    'int8'

    Attributes:
        {settings}
    """

    threads: int | None = setting(
        None,
        "Threads of the kernels; by default one for each large core that the process may use.",
        short="-t",
        bounds=1,
        of_machine=True,
    )
    isa: Isa | None = setting(
        None,
        "The instruction set, for comparisons; by default the best of those that `ruvllm doctor` lists.",
        of_machine=True,
    )
    max_context: int | None = setting(
        None,
        "Tokens of a prompt and its answer together; by default the model's own limit, or what the memory "
        "allows. More than the model's limit is refused.",
        short="-c",
        bounds=1,
    )
    activations: Activations = setting(
        "auto", "`f32` for exactness; `auto` is integers where weights and machine allow."
    )
    kv_format: KvFormat = setting(
        "auto",
        "How the key-value cache stores numbers: `int16`, which is as exact as f16, `f32`, `int8`, which is "
        "half as large and rounds a little, `k8v4`, keys of 8 and values of 4 bits, which is a quarter "
        "smaller again and rounds more, or `q4` or `q3`, 4 or 3 bits for all but the last tokens, less than "
        "a third or a quarter of a long context; "
        "`auto` is int16, or f32 where weights or activations are.",
    )
    kv_tail: int | None = setting(
        None,
        "How many of the last tokens the key-value cache keeps in more bits besides; by default 128 with "
        "`q4`, 96 with `q3`, and none with the others.",
        bounds=0,
    )
    kv_tail_format: KvTailFormat | None = setting(
        None, "How it stores these: `int8`, unless another is asked for, `int16` or `f32`."
    )
    kv_cache_bytes: int | None = setting(
        None, "Budget of keys, values and adapters; by default a share of the free memory.", bounds=1
    )
    adapter_bytes: int | None = setting(
        None,
        "What of that budget adapters may take while they are ready; by default half. Others are made ready "
        "when a request names them.",
        bounds=1,
    )
    kernel_pack: str | os.PathLike[str] | None = setting(
        None,
        "A signed kernel pack to compute with: a folder, `reference`, or the name of an installed one; by "
        "default none. One that is refused is a `PackError`.",
    )
    weight_image: WeightImage = setting(
        "use",
        "Weights that `ruvllm prepare` packed are mapped from its file, at once and shared by processes: "
        "`use` looks for it, `keep` makes it where it is missing and the disk has room, `off` packs anew.",
    )
    speculation: Speculation = setting(
        "auto",
        "Guesses of next tokens, taken from what prompt and answer said before, are computed beside the last "
        "token where that pays, and kept as far as they come true: `auto`; `off` makes one token a step. No "
        "token depends on it.",
    )
    draft: str | os.PathLike[str] | None = setting(
        None,
        "A smaller model with the same tokenizer that guesses next tokens too, where that pays: a name or a "
        "path. It shares the threads and the budget of the key-value cache. No token depends on it.",
    )
    chat_template: str | os.PathLike[str] | None = setting(
        None,
        "What makes a text of a conversation, in Jinja, instead of what the model brings; a file, the text "
        "itself, or a built-in one, `chatml`, `llama-2`, `llama-3`, `mistral`, `phi-3` or `gemma`.",
    )
    prefix_cache: PrefixCacheConfig | None = setting(
        None, "What computed prefixes may keep, and when they give way.", has_flag=False
    )
    limits: Limits | None = setting(
        None, "How many requests may be in at once, and how many may wait.", has_flag=False
    )
    backend: str = setting(
        "native",
        "The engine that runs the model: `native`, `mistralrs`, `candle`, or what another package brings, "
        "with options of its own as in `mistralrs:in_situ_quant=Q4K`.",
    )

    @property
    def kv_formats(self) -> KvFormats:
        """All that is said of how the key-value cache stores numbers."""
        return self.kv_format, self.kv_tail, self.kv_tail_format

    def __post_init__(self) -> None:
        check_settings(self)

    @classmethod
    def given(cls, settings: Mapping[str, Any]) -> "EngineSettings":
        """The settings that a caller gave as keywords; `TypeError`, as ever, for one that there is not."""
        names = [one.name for one in settings_of(cls)]
        for name in settings:
            if name not in names:
                meant = difflib.get_close_matches(name, names, n=1)
                hint = f"did you mean {meant[0]!r}?" if meant else f"there are {', '.join(names)}"
                hint = _ELSEWHERE.get(name, hint)
                raise TypeError(f"unexpected keyword argument {name!r}: no setting is called so; {hint}")
        return cls(**settings)

    def keywords(self) -> EngineKeywords:
        """The same as keywords for `LLM`."""
        values: Any = {one.name: getattr(self, one.name) for one in fields(EngineSettings)}
        keywords: EngineKeywords = values
        return keywords
