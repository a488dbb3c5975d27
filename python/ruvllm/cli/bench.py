"""`ruvllm bench`: how fast a model runs here, in llama-bench's columns.

Measured through the public `LLM`, so with everything a user pays for:

- `pp512`: 512 random tokens in, one token out, over the whole wall time. Every run has other tokens, so that
  no cache can help; a run in which some did is an error.
- `tg64`: one token in, 64 tokens out. Each of them takes one forward pass of one token, so 64 over the whole
  wall time is the speed of generating, as llama-bench measures it. End tokens do not end it.

Each test warms up once, uncounted. Tokens are chosen greedily, without penalties.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ruvllm.cli import bench_profile, terminal
from ruvllm.cli.command import CommonOptions, command, flag
from ruvllm.cli.opening import open_model
from ruvllm.cli.options import EngineOptions, ModelArgument
from ruvllm.errors import ConfigError, GenerationError

if TYPE_CHECKING:
    from ruvllm.llm import LLM
    from ruvllm.observability.peaks import MachinePeaks

__all__ = ["register"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What is measured."""

    prompt: Annotated[
        int,
        flag(
            "--prompt", "-p", variable="RUVLLM_BENCH_PROMPT", help="Tokens to read; 0 leaves it out.", min=0
        ),
    ] = 512
    generate: Annotated[
        int,
        flag(
            "--generate",
            "-g",
            variable="RUVLLM_BENCH_GENERATE",
            help="Tokens to make; 0 leaves it out.",
            min=0,
        ),
    ] = 128
    repeat: Annotated[
        int, flag("--repeat", "-r", variable="RUVLLM_BENCH_REPEAT", help="Measured runs of each.", min=1)
    ] = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One test's speed over its runs."""

    test: str
    samples: list[float]

    @property
    def mean(self) -> float:
        """Tokens a second."""
        return sum(self.samples) / len(self.samples)

    @property
    def stddev(self) -> float:
        """Sample standard deviation; 0 for a single run."""
        squares = sum((sample - self.mean) ** 2 for sample in self.samples)
        return math.sqrt(squares / max(1, len(self.samples) - 1))


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(
        app,
        "bench",
        examples=[
            "ruvllm bench smollm2-135m --threads 2",
            "ruvllm bench ./model.gguf --prompt 512 --generate 64 --repeat 3 --json",
            "RUVLLM_ISA=avx2 ruvllm bench smollm2-135m",
            "ruvllm bench smollm2-135m --profile    where does the time go?",
        ],
    )(bench)


def bench(
    model: ModelArgument,
    engine: EngineOptions,
    workload: Workload,
    common: CommonOptions,
    *,
    profile: Annotated[
        bool,
        flag("--profile", variable="RUVLLM_BENCH_PROFILE", help="Also tell where the time goes."),
    ] = False,
    json: Annotated[bool, flag("--json", help="For programs.")] = False,
) -> None:
    """Measure prompt reading (pp) and text generation (tg) in tokens a second.

    Measured through the public interface, after a warm-up. pp512 reads 512 random tokens, others in each
    run (words, where the backend takes texts alone); tg128 makes 128 tokens out of one. Greedy, end tokens
    ignored, nothing guessed. Compares with llama-bench.
    """
    if not workload.prompt and not workload.generate:
        raise ConfigError("--prompt and --generate are both 0; there is nothing to measure")
    phases: list[bench_profile.Phase] = []
    with open_model(model, engine, quiet=common.quiet) as llm:
        if profile and not llm.supports.profile:
            raise ConfigError(
                f"the backend {llm.backend!r} does not tell where its time goes; leave --profile out"
            )
        results = measure(llm, workload)
        summary = _summary(llm, model)
        if profile:
            from ruvllm.observability.peaks import measure_peaks

            peaks = measure_peaks(summary["threads"])
            phases = _profile(llm, workload, peaks)
    if json:
        rows = [
            {
                "test": result.test,
                "tokens_per_second": result.mean,
                "stddev": result.stddev,
                "samples": result.samples,
            }
            for result in results
        ]
        profiles = bench_profile.profiles_as_json(phases, peaks) if profile else {}
        terminal.print_json({**summary, "results": rows, **profiles})
        return
    _print_table(summary, results)
    if profile:
        bench_profile.print_profiles(phases, peaks, summary["isa"])


def measure(llm: "LLM", workload: Workload) -> list[Result]:
    """Run the tests that the workload asks for."""
    results = []
    for name, num_tokens, seconds in _tests(llm, workload):
        seconds()  # warm-up
        results.append(Result(test=name, samples=[num_tokens / seconds() for _ in range(workload.repeat)]))
    return results


def _tests(llm: "LLM", workload: Workload) -> list[tuple[str, int, Callable[[], float]]]:
    """Return name, tokens, and what runs it and gives its seconds, of each test."""
    draw = _random_tokens(llm) if llm.supports.any_tokens else _random_words(llm)
    tests: list[tuple[str, int, Callable[[], float]]] = []
    if workload.prompt:
        tests.append((f"pp{workload.prompt}", workload.prompt, lambda: _time(llm, draw(workload.prompt), 1)))
    if workload.generate:
        tests.append(
            (f"tg{workload.generate}", workload.generate, lambda: _time(llm, draw(1), workload.generate))
        )
    return tests


def _random_tokens(llm: "LLM") -> Callable[[int], list[int]]:
    """Draws so many token ids."""
    import random

    vocab_size = llm.model_info.vocab_size
    generator = random.Random(0)  # noqa: S311  the same tokens on every machine
    return lambda length: [generator.randrange(vocab_size) for _ in range(length)]


def _random_words(llm: "LLM") -> Callable[[int], list[int]]:
    """Draws so many tokens that a text becomes, for an engine that takes texts: words behind a space."""
    import random

    pieces = map(llm.token_bytes, range(llm.model_info.vocab_size))
    words = [token for token, piece in enumerate(pieces) if piece[:1] == b" " and piece[1:].isalpha()]
    if not words:
        raise GenerationError(f"the vocabulary of {llm.name} has no words to measure {llm.backend} with")
    generator = random.Random(0)  # noqa: S311  the same tokens on every machine
    # A tokenizer that begins every text with a mark does so here.
    beginning = llm.tokenize("")

    def draw(length: int) -> list[int]:
        begun = beginning[:length]
        return [*begun, *generator.choices(words, k=length - len(begun))]

    return draw


def _profile(llm: "LLM", workload: Workload, peaks: "MachinePeaks") -> list[bench_profile.Phase]:
    phases = []
    for name, num_tokens, run in _tests(llm, workload):
        runs = [run] * workload.repeat
        is_prefill = name.startswith("pp")
        phases.append(bench_profile.profile_phase(llm, peaks, num_tokens if is_prefill else None, runs))
    return phases


def _time(llm: "LLM", tokens: list[int], max_tokens: int) -> float:
    from ruvllm.params import GenerateParams

    params = GenerateParams(
        max_tokens=max_tokens,
        temperature=0.0,
        repetition_penalty=1.0,
        ignore_eos=True,
        cache_prefix=False,
        speculate=False,
    )
    start = time.perf_counter()
    completion = llm.generate(tokens, params)
    seconds = time.perf_counter() - start
    usage = completion.usage
    if (usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens) != (len(tokens), max_tokens, 0):
        raise GenerationError(
            f"{len(tokens)} tokens in and {max_tokens} out were to be measured, uncached; it was {usage}; "
            "is the context (--max-context) long enough?"
        )
    return seconds


def _summary(llm: "LLM", name: str) -> dict[str, Any]:
    info = llm.model_info
    return {
        "model": f"{info.architecture} {_millions(info.num_parameters)} {info.quantization}",
        "name": name,
        "size_bytes": info.file_bytes,
        "num_parameters": info.num_parameters,
        "backend": "CPU",
        "isa": info.isa,
        "threads": info.threads,
    }


def _print_table(summary: dict[str, Any], results: list[Result]) -> None:
    columns = ["model", "size", "params", "backend", "threads", "test", "t/s"]
    rows = [
        (
            summary["model"],
            f"{summary['size_bytes'] / 2**20:.2f} MiB",
            f"{summary['num_parameters'] / 1e6:.2f} M",
            f"{summary['backend']} ({summary['isa']})",
            str(summary["threads"]),
            result.test,
            f"{result.mean:.2f} ± {result.stddev:.2f}",
        )
        for result in results
    ]
    terminal.show_table(columns, rows, right=["size", "params", "threads", "test", "t/s"])


def _millions(count: int) -> str:
    return f"{count / 1e9:.1f}B" if count >= 1e9 else f"{count / 1e6:.0f}M"
