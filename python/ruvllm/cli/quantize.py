"""`ruvllm quantize`: a model's weights in fewer bits."""

import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ruvllm.cli import terminal
from ruvllm.cli.command import CommonOptions, command, flag
from ruvllm.cli.fetching import fetched
from ruvllm.cli.options import CacheOptions
from ruvllm.hub.progress import loading_bar

if TYPE_CHECKING:
    from ruvllm.quantizing import QuantizedModel

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(
        app,
        "quantize",
        examples=[
            "ruvllm quantize model-F16.gguf model-Q4_K_M.gguf              a good choice, 4.8 bits a weight",
            "ruvllm quantize model-F16.gguf small.gguf --type Q3_K_M       smaller, and worse",
            "ruvllm quantize model-F16.gguf exact.gguf --type Q8_0         hardly told from the original",
            "ruvllm quantize folder/ model.gguf --imatrix imatrix.gguf     from safetensors, by what matters",
            "ruvllm run model-Q4_K_M.gguf 'Hello'                      and it answers",
        ],
    )(quantize)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizeOptions:
    """What is made, and how."""

    type_name: Annotated[
        str,
        flag(
            "--type",
            variable="RUVLLM_QUANTIZE_TYPE",
            help="Q8_0, Q6_K, Q5_K_M, Q4_K_M, Q4_K_S, IQ4_XS, Q3_K_M, Q2_K and others: many bits to few.",
        ),
    ] = "Q4_K_M"
    imatrix: Annotated[
        Path | None,
        flag("--imatrix", help="Weigh errors by this, which `ruvllm imatrix` wrote.", metavar="FILE"),
    ] = None
    force: Annotated[
        bool, flag("--force", variable="RUVLLM_QUANTIZE_FORCE", help="Replace OUT where it is there already.")
    ] = False
    threads: Annotated[int | None, flag("--threads", "-t", help="Threads to compute with.", min=1)] = None


def quantize(
    model: Annotated[
        str, typer.Argument(help="The model, best of 16 or 32 bits: a GGUF file, or a folder.", metavar="IN")
    ],
    target: Annotated[Path, typer.Argument(help="The file to write.", metavar="OUT")],
    options: QuantizeOptions,
    cache: CacheOptions,
    common: CommonOptions,
    *,
    json: Annotated[bool, flag("--json", help="For programs.")] = False,
) -> None:
    """Write a model anew with weights of fewer bits, which take less memory and answer faster.

    Names of types are llama.cpp's: of a mix such as Q4_K_M, what matters most has more bits.
    Tokenizer and chat template are carried over. OUT is there whole when the command ends, or not at all.
    """
    from ruvllm.errors import InvalidOperationError
    from ruvllm.quantizing import quantize as make

    source = fetched(model, quiet=common.quiet, cache=cache.cache_dir)
    begin = time.perf_counter()
    try:
        with loading_bar(f"Quantizing {model}", quiet=common.quiet) as report:
            made = make(
                source,
                target,
                options.type_name,
                overwrite=options.force,
                importance=options.imatrix,
                threads=options.threads,
                progress=report,
            )
    except InvalidOperationError as error:
        if target.exists() and not options.force:
            raise InvalidOperationError(f"{error.message}; --force does that") from None
        raise
    seconds = time.perf_counter() - begin
    if json:
        _print_json(made, seconds)
    elif not common.quiet:
        _tell(made, seconds)


def _print_json(made: "QuantizedModel", seconds: float) -> None:
    terminal.print_json(
        {
            "path": str(made.path),
            "type": made.type_name,
            "size_bytes": made.size_bytes,
            "seconds": seconds,
            "was_quantized": made.was_quantized,
            "tensors": [asdict(one) for one in made.tensors],
        }
    )


def _tell(made: "QuantizedModel", seconds: float) -> None:
    types = Counter(one.new_type for one in made.tensors).most_common()
    listed = ", ".join(f"{count} {name}" for name, count in types)
    terminal.note(f"{made.path}: {terminal.size(made.size_bytes)} in {seconds:.1f} s; tensors: {listed}")
    if made.was_quantized:
        terminal.note(
            "the model was quantized before, and has lost twice now; better make it of one in 16 or 32 bits"
        )
