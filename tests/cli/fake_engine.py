"""A stand-in for the engine, so that the command line can be tested by itself.

`python -m tests.cli.fake_engine chat ...` is `ruvllm chat ...` upon it.
"""

import os
import re
import sys
import time
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

from ruvllm.backends.supports import Supports
from ruvllm.errors import ConfigError, ContextLengthError, InvalidModelError
from ruvllm.figures import MemoryStats, ModelInfo
from ruvllm.hub import NOTHING, Recommended
from ruvllm.observability.profile import OperationTime, StepProfile
from ruvllm.outputs import Chunk, Completion, Timings, Usage
from ruvllm.params import GenerateParams
from ruvllm.runtime.request import GenerationTask
from ruvllm.text.marks import Rendered
from ruvllm.text.response import ResponseFormat
from ruvllm.text.response.syntax import JsonCalls, Reasons
from ruvllm.types import DeviceType

WORD = re.compile(r"<[/a-z]*>|\s*[^\s<]+|\s+|<")
Prompt = str | list[int] | list[dict[str, str]]


class FakeTokenizer:
    """A token for each word and each mark."""

    bos_token = None
    marks: ClassVar[frozenset[str]] = frozenset()

    def __init__(self) -> None:
        self._words: list[str] = []

    def encode(self, text: str, **rest: Any) -> list[int]:
        words = WORD.findall(text)
        self._words += [word for word in dict.fromkeys(words) if word not in self._words]
        return [self._words.index(word) for word in words]

    def encode_pieces(self, pieces: Sequence[str], **rest: Any) -> list[int]:
        return self.encode("".join(pieces))

    def decode(self, token_ids: Sequence[int], **rest: Any) -> str:
        return "".join(self._words[token] for token in token_ids)


class FakeStream(Iterator[Chunk]):
    """Chunks, and the request that they answer."""

    def __init__(self, chunks: Generator[Chunk, None, None], params: GenerateParams) -> None:
        self.task = GenerationTask(token_ids=(), params=params, max_tokens=params.max_tokens)
        self.close = chunks.close
        self._chunks = chunks
        self.prompt_share: float | None = None

    def __next__(self) -> Chunk:
        return next(self._chunks)


class FakeLLM:
    """Answers with what it was asked; `slowly` takes its time over many words, `too long` is refused.

    `patiently` takes its time before the first of them, and says how much of the prompt is read.
    """

    opened: ClassVar[list["FakeLLM"]] = []
    # What models recommend, by what their files end in.
    recommends: ClassVar[dict[str, GenerateParams]] = {}

    def __init__(self, model: str, **settings: Any) -> None:
        self.model = model
        self.settings = settings
        self.requests: list[tuple[Prompt, GenerateParams]] = []
        self.closed = False
        self.tokenizer = FakeTokenizer()
        if settings["isa"] == "none":
            raise ConfigError("isa is 'none'; this machine has: scalar, avx2")
        if Path(model).name == "broken.gguf":
            raise InvalidModelError("no GGUF file")
        if report := settings.get("progress"):
            report(1, 1)
        FakeLLM.opened.append(self)

    def recommended_params(self) -> GenerateParams:
        if (name := Path(self.model).name) not in self.recommends:
            raise ConfigError(f"the model {name} recommends no sampling")
        return self.recommends[name]

    @property
    def recommended(self) -> Recommended:
        return NOTHING

    @property
    def brings_chat_template(self) -> bool:
        return True

    @property
    def name(self) -> str:
        return "fake"

    @property
    def response_format(self) -> ResponseFormat:
        return ResponseFormat(name="fake", calls=JsonCalls(), reasons=Reasons())

    @property
    def supports(self) -> Supports:
        return Supports(any_tokens=True, profile=True)

    @property
    def backend(self) -> str:
        return "fake"

    def __enter__(self) -> "FakeLLM":
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    def close(self) -> None:
        self.closed = True

    def render_chat(self, messages: list[dict[str, str]]) -> Rendered:
        said = "".join(f"<{message['role']}>{message['content']}</>" for message in messages)
        return Rendered(f"{said}<assistant>", {})

    def _last_question(self, prompt: Prompt) -> str:
        if isinstance(prompt, str):
            return prompt
        if isinstance(prompt[0], int):
            return re.findall(r"<user>(.*?)</>", self.tokenizer.decode(prompt), re.S)[-1]
        return prompt[-1]["content"]  # type: ignore[index]

    def stream(self, prompt: Prompt, params: GenerateParams, **owner: Any) -> FakeStream:
        stream = FakeStream(self._chunks(prompt, params), params)
        if "patiently" in self._last_question(prompt):
            stream.prompt_share = 0.43
        return stream

    def _chunks(self, prompt: Prompt, params: GenerateParams) -> Generator[Chunk, None, None]:
        self.requests.append((prompt, params))
        text = self._last_question(prompt)
        if "patiently" in text:
            time.sleep(2.5)
        if "too long" in text:
            raise ContextLengthError("the prompt has 9 tokens, but the context holds 8")
        words = (
            [f"word{index} " for index in range(400)] if "slowly" in text else f"You said: {text}".split(" ")
        )
        for index, word in enumerate(words):
            if "slowly" in text:
                time.sleep(0.02)
            piece = word if index == 0 or "slowly" in text else f" {word}"
            yield Chunk(text=piece, token_ids=tuple(self.tokenizer.encode(piece)))
        yield Chunk(
            text="",
            finish_reason="length" if params.max_tokens < len(words) else "stop",
            usage=Usage(prompt_tokens=len(text), completion_tokens=len(words)),
            timings=Timings(first_token_seconds=0.1, total_seconds=1.1, completion_tokens=len(words)),
        )

    def generate(self, prompt: Prompt, params: GenerateParams, **terms: Any) -> Completion:
        self.requests.append((prompt, params))
        time.sleep(0.001)
        if isinstance(prompt, list) and prompt and isinstance(prompt[0], int):
            assert params.ignore_eos
            return self._completion("", len(prompt), params.max_tokens)
        return self._completion(f"You said: {prompt}", 3, 5)

    def chat(self, messages: list[dict[str, str]], params: GenerateParams, **terms: Any) -> Completion:
        self.requests.append((messages, params))
        return self._completion("An answer.", 3, 2)

    def _completion(self, text: str, prompt_tokens: int, completion_tokens: int) -> Completion:
        return Completion(
            text=text,
            token_ids=tuple(range(completion_tokens)),
            finish_reason="stop",
            usage=Usage(prompt_tokens=prompt_tokens, completion_tokens=completion_tokens),
            timings=Timings(first_token_seconds=0.1, total_seconds=1.0),
        )

    def start_profile(self) -> None:
        self.profiled_from = len(self.requests)

    def take_profile(self) -> StepProfile:
        runs = self.requests[self.profiled_from :]
        tokens = sum(len(prompt) + params.max_tokens - 1 for prompt, params in runs)
        steps = sum(params.max_tokens for _, params in runs)
        times = (
            OperationTime(
                operation="matmul down",
                calls=30 * steps,
                seconds=steps * 3e-6,
                operations={"int8": 0, "int16": 0, "f32": tokens * 250_000},
                weight_bytes=steps * 105_000,
            ),
            OperationTime(
                operation="other", calls=steps, seconds=steps * 1e-6, operations={}, weight_bytes=0
            ),
        )
        return StepProfile(steps=steps, tokens=tokens, times=times)

    @property
    def model_info(self) -> ModelInfo:
        return ModelInfo(
            name="fake",
            path=Path(self.model),
            architecture="llama",
            quantization="Q4_1",
            num_parameters=134_515_008,
            vocab_size=100,
            hidden_size=8,
            num_layers=1,
            num_heads=1,
            num_kv_heads=1,
            head_dim=8,
            model_max_context=2048,
            max_context=2048,
            file_bytes=98_362_432,
            weight_bytes=100_000_000,
            device=DeviceType.Cpu,
            isa="avx2",
            threads=self.settings["threads"] or 2,
        )

    def memory_stats(self) -> MemoryStats:
        return MemoryStats(
            weight_bytes=100_000_000,
            kv_total_bytes=1000,
            kv_used_bytes=10,
            kv_cached_bytes=0,
            swapped_bytes=0,
            grammar_bytes=0,
            resident_bytes=2_000_000,
            peak_resident_bytes=3_000_000,
            running_requests=0,
            waiting_requests=0,
            paused_requests=0,
            preemptions=0,
        )


class FakeSystem:
    """What a machine offers."""

    isa = "avx2"
    isa_reason = "the best that is here"
    available_isas = ("scalar", "avx2")
    cpu_features = ("avx2", "fma")
    threads = 2
    threads_reason = "two CPUs are allowed"
    debug_assertions = False

    @staticmethod
    def detect(isa: str | None = None, threads: int | None = None) -> "FakeSystem":
        if isa == "none":
            raise ConfigError("isa is 'none'; this machine has: scalar, avx2")
        return FakeSystem()


class FakeInstructionPeak:
    """The most that an instruction gives."""

    isas = ("avx2",)
    instruction = "vfmadd231ps ymm"
    operands = "f32"
    operations_per_second = 125.0e9


class FakePeaks:
    """The bounds of a machine."""

    memory_bytes_per_second = 70.0e9
    instructions = (FakeInstructionPeak(),)

    def __init__(self, threads: int | None, free_bytes: int | None) -> None:
        self.threads = threads or 2
        self.free_bytes = free_bytes


def modules() -> dict[str, ModuleType]:
    """Return what stands in for the engine's modules."""
    llm = ModuleType("ruvllm.llm")
    llm.LLM = FakeLLM  # type: ignore[attr-defined]
    native = ModuleType("ruvllm._native")
    native.System = FakeSystem  # type: ignore[attr-defined]
    native.measure_peaks = FakePeaks  # type: ignore[attr-defined]
    return {"ruvllm.llm": llm, "ruvllm._native": native}


if __name__ == "__main__":
    sys.modules.update(modules())
    sys.argv[0] = "ruvllm"
    os.environ.setdefault("PROMPT_TOOLKIT_NO_CPR", "1")
    from ruvllm.cli.main import main

    main()
