"""`ruvllm imatrix`: what matters in a model, measured over a text, for `ruvllm quantize`."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ruvllm.cli import terminal
from ruvllm.cli.calibration_text import counting_bar, read_text
from ruvllm.cli.command import CommonOptions, command, flag
from ruvllm.cli.fetching import fetched
from ruvllm.cli.options import EngineOptions, ModelArgument
from ruvllm.errors import ConfigError, RuvLLMError

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(
        app,
        "imatrix",
        examples=[
            "ruvllm imatrix model-F16.gguf text.txt -o imatrix.gguf",
            "ruvllm quantize model-F16.gguf model-Q3_K_M.gguf --type Q3_K_M --imatrix imatrix.gguf",
            "ruvllm imatrix model-F16.gguf text.txt --chunks 50      the first 25600 tokens",
        ],
    )(imatrix)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImatrixOptions:
    """What is read, and what is written."""

    out: Annotated[
        Path,
        flag("--out", "-o", variable="RUVLLM_IMATRIX_OUT", help="The file to write.", metavar="FILE"),
    ] = Path("imatrix.gguf")
    context: Annotated[
        int,
        flag("--context", variable="RUVLLM_IMATRIX_CONTEXT", help="Tokens of a chunk of the text.", min=8),
    ] = 512
    chunks: Annotated[
        int | None, flag("--chunks", help="So many chunks from the beginning; else all.", min=1)
    ] = None


def imatrix(
    model: ModelArgument,
    text: Annotated[
        Path, typer.Argument(help="What the model reads: a text file, or - for stdin.", metavar="TEXT")
    ],
    options: ImatrixOptions,
    engine: EngineOptions,
    common: CommonOptions,
    *,
    json: Annotated[bool, flag("--json", help="For programs.")] = False,
) -> None:
    """Measure how much each column of a model's matrices matters, over a text like those that it will read.

    Written as llama.cpp's `imatrix` does, which reads it as well. One that is there is replaced.
    """
    from ruvllm.evaluating import EvaluationParams, measure_importance

    _check_target(options.out)
    read = read_text(text)
    path = fetched(model, quiet=common.quiet, cache=engine.cache_dir, settings=engine.settings)
    begin = time.perf_counter()
    with counting_bar(f"Reading {text}", quiet=common.quiet) as report:
        found = measure_importance(
            str(path),
            read,
            name=text.name,
            params=EvaluationParams(context=options.context, max_chunks=options.chunks),
            progress=report,
            **engine.settings.keywords(),
        )
    found.save(options.out)
    seconds = time.perf_counter() - begin
    if json:
        terminal.print_json(
            {
                "path": str(options.out),
                "matrices": len(found.sums),
                "chunks": found.chunk_count,
                "context": found.chunk_size,
                "seconds": seconds,
            }
        )
    elif not common.quiet:
        told = f"{len(found.sums)} matrices over {found.chunk_count} chunks of {found.chunk_size} tokens"
        terminal.note(f"{options.out}: {told}, in {seconds:.1f} s")


def _check_target(place: Path) -> None:
    """Nothing is measured for a place where it could not be written, or would cost somebody a model."""
    if not place.absolute().parent.is_dir():
        raise ConfigError(f"{place.absolute().parent} is no folder; --out must lie in one that is there")
    if place.exists():
        from ruvllm.importance import ImportanceMatrix

        try:
            ImportanceMatrix.load(place)
        except RuvLLMError as error:
            raise ConfigError(f"{place} is there and no importance matrix; name another --out") from error
