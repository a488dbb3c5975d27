"""`ruvllm eval`: how good a model is, and how much worse than another one."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import ruvllm.whole_file as whole_file
from ruvllm.cli import terminal
from ruvllm.cli.calibration_text import counting_bar, read_text
from ruvllm.cli.command import CommonOptions, command, flag
from ruvllm.cli.fetching import fetched
from ruvllm.cli.options import EngineOptions, ModelArgument
from ruvllm.errors import ConfigError, IoError

if TYPE_CHECKING:
    from ruvllm.evaluating import Comparison, Estimate, Evaluation

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(
        app,
        "eval",
        examples=[
            "ruvllm eval smollm2-135m wiki.test.raw                             perplexity of a text",
            "ruvllm eval model-Q4_K_M.gguf text.txt --reference model-F16.gguf  what did 4 bits cost?",
            "ruvllm eval model-Q4_K_M.gguf text.txt --compare model-Q3_K_M.gguf --plot both.svg",
            "ruvllm eval smollm2-135m --choices questions.jsonl                 how many right answers?",
        ],
    )(evaluate)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationOptions:
    """What is measured, and against what."""

    reference: Annotated[
        str | None,
        flag("--reference", help="Also how far predictions are from this model's.", metavar="MODEL"),
    ] = None
    compare: Annotated[
        str | None, flag("--compare", help="Measure this model, too, side by side.", metavar="MODEL")
    ] = None
    choices: Annotated[
        Path | None,
        flag("--choices", help="Lines of JSON: question, choices, answer.", metavar="FILE"),
    ] = None
    context: Annotated[
        int,
        flag("--context", variable="RUVLLM_EVAL_CONTEXT", help="Tokens of a chunk of the text.", min=8),
    ] = 512
    chunks: Annotated[
        int | None, flag("--chunks", help="So many chunks from the beginning; else all.", min=1)
    ] = None
    plot: Annotated[
        Path | None, flag("--plot", help="An SVG to write: the figure along the text.", metavar="FILE")
    ] = None


def evaluate(
    model: ModelArgument,
    options: EvaluationOptions,
    engine: EngineOptions,
    common: CommonOptions,
    *,
    text: Annotated[
        Path | None, typer.Argument(help="What the model reads: a text file, or - for stdin.", metavar="TEXT")
    ] = None,
    json: Annotated[bool, flag("--json", help="For programs.")] = False,
) -> None:
    """Measure a model: perplexity of a text, distance from a reference, right answers to questions.

    The text is cut into chunks of --context tokens, of each the second half is scored, as llama.cpp's
    perplexity does it. A figure stands with its standard error; two models are compared pair by pair.
    """
    from ruvllm.evaluating import EvaluationParams, picture
    from ruvllm.evaluating import evaluate as measure

    if options.plot and text is None:
        raise ConfigError("--plot draws along a text; give TEXT")
    if options.compare == model:
        raise ConfigError("--compare names the model itself; name another one")
    if options.plot and not options.plot.absolute().parent.is_dir():
        raise ConfigError(
            f"{options.plot.absolute().parent} is no folder; --plot must lie in one that is there"
        )
    read = None if text is None else read_text(text)
    params = EvaluationParams(context=options.context, max_chunks=options.chunks)
    reference = options.reference and _resolved(options.reference, engine, quiet=common.quiet)
    begin = time.perf_counter()
    found: dict[str, Evaluation] = {}
    for name in [model, *([options.compare] if options.compare else [])]:
        path = _resolved(name, engine, quiet=common.quiet)
        with counting_bar(f"Evaluating {name}", quiet=common.quiet) as report:
            found[name] = measure(
                path,
                read,
                choices=options.choices,
                reference=reference,
                params=params,
                progress=report,
                **engine.settings.keywords(),
            )
    each = list(found.values())
    comparison = each[0].compared_with(each[1]) if len(each) > 1 else None
    if json:
        _print_json(found, comparison, time.perf_counter() - begin)
    else:
        _show(found, comparison)
    if options.plot:
        _write(options.plot, picture(found))


def _resolved(name: str, engine: EngineOptions, *, quiet: bool) -> str:
    return str(fetched(name, quiet=quiet, cache=engine.cache_dir, settings=engine.settings))


def _write(path: Path, picture: str) -> None:
    try:
        with whole_file.replacing(path, private=False) as file:
            file.write(picture.encode())
    except OSError as error:
        raise IoError(f"{path} cannot be written: {error.strerror or error}") from error


def _print_json(found: "dict[str, Evaluation]", comparison: "Comparison | None", seconds: float) -> None:
    first, *others = (one.to_json() for one in found.values())
    more: dict[str, Any] = {}
    if comparison is not None:
        more = {"compared": others[0], "comparison": comparison.to_json()}
    terminal.print_json({**first, **more, "seconds": seconds})


def _show(found: "dict[str, Evaluation]", comparison: "Comparison | None") -> None:
    columns = [dict(_figures(one)) for one in found.values()]
    rows = [[name, *(str(column.get(name, "")) for column in columns)] for name in columns[0]]
    if comparison is None:
        terminal.show_table(["", *found], rows, right=list(found))
        return
    # A difference stands in the row of the figure that it is of.
    differences: dict[str, Estimate | None] = {
        "perplexity": comparison.perplexity_ratio,
        "divergence (nats)": comparison.divergence_difference,
        "right answers": comparison.accuracy_difference,
        "right answers, by length": comparison.accuracy_by_length_difference,
    }
    for row in rows:
        difference = differences.get(row[0])
        sign = "x " if row[0] == "perplexity" else "+ "
        row.append("" if difference is None else f"{sign}{difference}")
    names = [*found, "difference"]
    terminal.show_table(["", *names], rows, right=names)


def _figures(found: "Evaluation") -> Iterator[tuple[str, object]]:
    if text := found.text:
        yield "perplexity", text.perplexity
        yield "scored tokens", f"{text.losses.size} in {len(text.losses)} chunks of {text.context}"
    if apart := found.divergence:
        yield "reference's perplexity", apart.reference.perplexity
        yield "perplexity over it", apart.perplexity_ratio
        yield "divergence (nats)", apart.mean
        yield "divergence, median", f"{apart.quantile(0.5):.3g}"
        yield "divergence, 99 %", f"{apart.quantile(0.99):.3g}"
        yield "same likeliest token", apart.agreement
        yield "probability change (rms)", apart.probability_change
    if choices := found.choices:
        yield "right answers", choices.accuracy
        yield "right answers, by length", choices.accuracy_by_length
        yield "questions", choices.right.size
