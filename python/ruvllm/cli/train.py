"""`ruvllm train`: an adapter from a file of examples."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ruvllm.cli import terminal
from ruvllm.cli.command import CommonOptions, command, flag
from ruvllm.cli.fetching import fetched
from ruvllm.cli.options import DEFAULT_MODEL, ModelFlag
from ruvllm.cli.train_options import AdapterShape, Course, Goal, MachineOptions, Place, config_of
from ruvllm.errors import ConfigError
from ruvllm.hub.progress import wants_bar

if TYPE_CHECKING:
    from ruvllm.training import TrainingProgress, TrainingResult
    from ruvllm.training.values import OnProgress

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(
        app,
        "train",
        examples=[
            "ruvllm train answers.jsonl --out adapters/tone    then: ruvllm chat --adapter adapters/tone",
            "ruvllm train answers.jsonl --out adapters/tone --resume    after Ctrl-C, or a power cut",
            "ruvllm train answers.jsonl -o small --rank 4 --modules q_proj,v_proj --layers 20-29",
            "ruvllm train pairs.jsonl -o better --objective dpo --learning-rate 0.0005",
            "ruvllm train questions.jsonl -o taught --objective distill --teacher ./larger.gguf",
            "ruvllm train answers.jsonl -o tone --json | jq .held_out_loss",
        ],
    )(train)


def train(  # noqa: PLR0913 - the groups of flags
    data: Annotated[Path, typer.Argument(help="A file of JSON lines.", metavar="DATA.jsonl")],
    place: Place,
    machine: MachineOptions,
    shape: AdapterShape,
    goal: Goal,
    course: Course,
    common: CommonOptions,
    *,
    model: ModelFlag = DEFAULT_MODEL,
    json: Annotated[
        bool,
        flag("--json", help="For programs: a line for each step, and one for the result."),
    ] = False,
) -> None:
    """Fine-tune a model on examples: a low-rank adapter, trained on this machine's processor.

    A line of DATA is {"messages": [...]}, or {"prompt": ..., "completion": ...}; for dpo {"prompt": ...,
    "chosen": ..., "rejected": ...}. Only answers are learned. The result is a folder for --adapter, for a
    server, and for peft. Ctrl-C ends a run after its step, and --resume goes on.
    """
    if place.out is None:
        raise ConfigError("--out is missing; it must name the folder to write")
    config = config_of(place, shape, goal, course)
    path = fetched(model, quiet=common.quiet, cache=machine.cache_dir)
    from ruvllm.training import TrainableModel
    from ruvllm.training import train as trained

    base = TrainableModel.load(path, machine.engine_settings())
    out = place.out
    with _interruptible(out) as check, _shown(quiet=common.quiet, json=json) as show:

        def on_progress(progress: "TrainingProgress") -> None:
            show(progress)
            check()

        result = trained(base, str(data), config, out=out, resume=place.resume, on_progress=on_progress)
    if json:
        terminal.print_json_line({"result": result.as_dict()})
        return
    _report(result)


@contextmanager
def _interruptible(out: Path) -> Iterator["_Check"]:
    """The first Ctrl-C ends the run after its step, when a checkpoint was written; the second one at once."""
    check = _Check(out)
    before = signal.signal(signal.SIGINT, check.ask)
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, before)


class _Check:
    """Whether somebody wants the run to end."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._is_asked = False

    def ask(self, number: int, frame: object) -> None:
        """A signal has come."""
        del number, frame
        if self._is_asked:
            raise KeyboardInterrupt
        self._is_asked = True
        terminal.note("ending after this step; the same command with --resume goes on")

    def __call__(self) -> None:
        """End the run where it was asked for."""
        if self._is_asked:
            raise KeyboardInterrupt


@contextmanager
def _shown(*, quiet: bool, json: bool) -> Iterator["OnProgress"]:
    """How steps are told of: lines of JSON, a bar where somebody watches, else looks at what is held out."""
    if json:
        yield lambda progress: terminal.print_json_line(_as_dict(progress))
        return
    if not wants_bar(quiet=quiet):
        yield lambda progress: None if quiet else _tell_look(progress)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[told]}"),
    )
    with Progress(*columns, console=terminal.err(), transient=True) as bar:
        task = bar.add_task("Training", total=None, told="")

        def show(progress: "TrainingProgress") -> None:
            told = f"loss {progress.loss:.3f}, {progress.tokens_per_second:.0f} tokens/s"
            bar.update(task, completed=progress.step, total=progress.steps, told=told)
            _tell_look(progress)

        yield show


def _tell_look(progress: "TrainingProgress") -> None:
    if progress.held_out_loss is not None:
        terminal.note(
            f"step {progress.step} of {progress.steps}: loss {progress.loss:.4f}, "
            f"held out {progress.held_out_loss:.4f}, {progress.tokens_per_second:.0f} tokens/s"
        )


def _as_dict(progress: "TrainingProgress") -> dict[str, Any]:
    from dataclasses import asdict

    return {**asdict(progress), "tokens_per_second": progress.tokens_per_second}


def _report(result: "TrainingResult") -> None:
    """What was learned, what it cost, and what was left out."""
    terminal.show_pairs(_lines(result))


def _lines(result: "TrainingResult") -> Iterator[tuple[str, str]]:
    yield "adapter", str(result.adapter)
    yield "loss", _change(result.train_loss_before, result.train_loss_after)
    if result.held_out_loss_before is not None and result.held_out_loss_after is not None:
        yield "held out", _change(result.held_out_loss_before, result.held_out_loss_after)
    ended = ", ended early" if result.stopped_early else ""
    yield "steps", f"{result.steps}{ended}; written is what step {result.best_step} left"
    yield "examples", f"{result.examples} trained on, {result.held_out} held out"
    if result.cut or result.left_out:
        yield "", f"{result.cut} cut, {result.left_out} left out: too long, or of too low a quality"
    yield "parameters", f"{result.parameters / 1e6:.2f} M"
    yield "time", f"{result.seconds:.0f} s, {result.tokens_per_second:.0f} tokens/s"
    peak = f", the process {terminal.size(result.peak_resident_bytes)}" if result.peak_resident_bytes else ""
    yield "memory", f"{terminal.size(result.activation_bytes)} for gradients{peak}"


def _change(before: float, after: float) -> str:
    share = 100 * (after - before) / before if before else 0.0
    return f"{before:.4f} to {after:.4f} ({share:+.0f} %)"
