"""`ruvllm bank`: reasoning banks in a folder, filled, searched and distilled; each call loads the model."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from json import JSONDecodeError, loads
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ruvllm.cli import terminal
from ruvllm.cli.command import CommonOptions, command, flag
from ruvllm.cli.opening import open_model
from ruvllm.cli.options import DEFAULT_MODEL, EngineOptions, ModelFlag
from ruvllm.cli.standard_input import text_of_stdin
from ruvllm.errors import ConfigError

if TYPE_CHECKING:
    from ruvllm.reasoning import Match, ReasoningBank, Trajectory, Verdict

__all__ = ["register"]

_FolderArgument = Annotated[Path, typer.Argument(help="Where banks are kept.", metavar="FOLDER")]
_TextArgument = Annotated[str, typer.Argument(help="A request; - reads it from stdin.", metavar="REQUEST")]
_JsonFlag = Annotated[bool, flag("--json", help="For programs.")]
MEMBERS = ("request", "steps", "response", "verdict", "quality")


@dataclass(frozen=True, slots=True, kw_only=True)
class BankOptions:
    """Whose bank, and by which model's embeddings."""

    model: ModelFlag = DEFAULT_MODEL
    tenant: Annotated[str, flag("--tenant", variable="RUVLLM_BANK_TENANT", help="Whose bank.")] = "default"
    capacity: Annotated[
        int,
        flag("--capacity", variable="RUVLLM_BANK_CAPACITY", help="Trajectories that it may hold.", min=1),
    ] = 10_000
    engine: EngineOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What may be found, and how much of it."""

    count: Annotated[
        int, flag("--count", "-k", variable="RUVLLM_BANK_COUNT", help="How many to find.", min=1)
    ] = 5
    verdict: Annotated[
        list[str] | None,
        flag(
            "--verdict",
            variable="RUVLLM_BANK_VERDICT",
            help="success, failure, partial or unknown; again for more.",
        ),
    ] = None
    min_quality: Annotated[
        float,
        flag("--min-quality", variable="RUVLLM_BANK_MIN_QUALITY", help="As good at least.", min=0.0, max=1.0),
    ] = 0.0

    def verdicts(self) -> "list[Verdict]":
        """Those that are named; without any, all."""
        from ruvllm.reasoning import Verdict

        try:
            return [Verdict(name) for name in self.verdict or [one.value for one in Verdict]]
        except ValueError as error:
            allowed = ", ".join(one.value for one in Verdict)
            raise ConfigError(f"--verdict: {error}; it must be one of {allowed}") from error


def register(app: typer.Typer) -> None:
    """Add the commands as a group."""
    group = typer.Typer(
        help="Reasoning banks: what was tried for which request and how it went, found by similarity.",
        epilog="`ruvllm bank COMMAND --help` has examples.",
        no_args_is_help=True,
        rich_markup_mode="rich",
    )
    for name, function, example in (
        ("add", add, "ruvllm bank add bank tried.jsonl --tenant acme"),
        ("search", search, "ruvllm bank search bank 'Add 12 and 30.' -k 3 --verdict success"),
        ("distill", distill, "ruvllm bank distill bank --patterns 20 --json | jq length"),
        ("context", context, "ruvllm bank context bank 'Add 12 and 30.' --context-tokens 300"),
        ("stats", stats, "ruvllm bank stats bank --json | jq .trajectories"),
    ):
        command(group, name, examples=[example])(function)
    app.add_typer(group, name="bank")


def add(
    folder: _FolderArgument,
    data: Annotated[str, typer.Argument(help="JSON lines; - reads them from stdin.", metavar="DATA")],
    options: BankOptions,
    common: CommonOptions,
) -> None:
    """Add trajectories, an object a line: request, and steps, response, verdict, quality where known.

    A step is ["what was done", "what came of it"]. Nothing is added where one of the lines is wrong.
    """
    trajectories = [
        _trajectory(line, number) for number, line in enumerate(_lines(data), start=1) if line.strip()
    ]
    with _opened(folder, options, common) as bank:
        numbers = bank.extend(trajectories)
        terminal.note(f"{len(numbers)} added, {len(bank)} in the bank")
    for number in numbers:
        terminal.print_text(f"{number}\n")


def search(
    folder: _FolderArgument,
    request: _TextArgument,
    wanted: Wanted,
    options: BankOptions,
    common: CommonOptions,
    *,
    json: _JsonFlag = False,
) -> None:
    """Find the trajectories whose requests are most similar."""
    verdicts = wanted.verdicts()
    with _opened(folder, options, common) as bank:
        found = bank.search(_text(request), wanted.count, verdicts=verdicts, min_quality=wanted.min_quality)
    if json:
        terminal.print_json([_members(match) for match in found])
        return
    rows = [[str(match.id), f"{match.similarity:.2f}", *_shown(match)] for match in found]
    terminal.show_table(["id", "similarity", "verdict", "quality", "request", "response"], rows)


def distill(
    folder: _FolderArgument,
    options: BankOptions,
    common: CommonOptions,
    *,
    patterns: Annotated[
        int | None,
        flag("--patterns", variable="RUVLLM_BANK_PATTERNS", help="How many, at most.", min=1),
    ] = None,
    seed: Annotated[int, flag("--seed", variable="RUVLLM_BANK_SEED", help="Where to begin.", min=0)] = 0,
    json: _JsonFlag = False,
) -> None:
    """Find the patterns of what is in the bank, in the place of those that were found before."""
    with _opened(folder, options, common) as bank:
        found = bank.distill(patterns, seed=seed)
    if json:
        facts = [
            {
                "id": one.id,
                "count": one.count,
                "mean_quality": one.mean_quality,
                "verdicts": {verdict.value: count for verdict, count in one.verdicts.items()},
                "best": [_members(match) for match in one.best],
            }
            for one in found
        ]
        terminal.print_json(facts)
        return
    rows = [
        [str(one.id), str(one.count), f"{one.mean_quality:.2f}", _line(one.best[0].trajectory.request)]
        for one in found
        if one.best
    ]
    terminal.show_table(["id", "count", "quality", "the best"], rows)


def context(
    folder: _FolderArgument,
    request: _TextArgument,
    options: BankOptions,
    common: CommonOptions,
    *,
    count: Annotated[
        int, flag("--count", "-k", variable="RUVLLM_BANK_COUNT", help="How many patterns, at most.", min=1)
    ] = 3,
    context_tokens: Annotated[
        int,
        flag("--context-tokens", variable="RUVLLM_BANK_CONTEXT_TOKENS", help="The most tokens of it.", min=1),
    ] = 512,
) -> None:
    """Write what the bank knows about a request, as a text to put before it."""
    with _opened(folder, options, common) as bank:
        found = bank.context(_text(request), count, max_tokens=context_tokens)
    terminal.print_text(found.text)
    terminal.note(f"{found.tokens} tokens from {len(found.used)} trajectories, {found.left_out} did not fit")


def stats(
    folder: _FolderArgument, options: BankOptions, common: CommonOptions, *, json: _JsonFlag = False
) -> None:
    """Tell what a bank holds."""
    with _opened(folder, options, common) as bank:
        figures = asdict(bank.stats())
    facts = {
        name: figures[name] for name in ("tenant", "trajectories", "capacity", "mean_quality", "patterns")
    }
    facts["undistilled"], facts["file_bytes"] = figures["undistilled"], figures["file_bytes"]
    facts["verdicts"] = {verdict.value: count for verdict, count in figures["verdicts"].items()}
    if json:
        terminal.print_json(facts)
        return
    terminal.show_pairs((name.replace("_", " "), str(value)) for name, value in facts.items())


@contextmanager
def _opened(folder: Path, options: BankOptions, common: CommonOptions) -> Iterator["ReasoningBank"]:
    from ruvllm.reasoning import ReasoningBank

    with (
        open_model(options.model, options.engine, quiet=common.quiet) as llm,
        ReasoningBank(llm, folder, tenant=options.tenant, capacity=options.capacity) as bank,
    ):
        yield bank


def _lines(data: str) -> list[str]:
    if data == "-":
        return text_of_stdin().split("\n")
    try:
        return Path(data).read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{data} cannot be read: {error}") from error


def _trajectory(line: str, number: int) -> "Trajectory":
    from ruvllm.reasoning import Step, Trajectory, Verdict

    try:
        found = loads(line)
        unknown = set(found) - set(MEMBERS)
        if unknown:
            raise ConfigError(f"{sorted(unknown)[0]!r} is none of {', '.join(MEMBERS)}")
        members: dict[str, Any] = {name: found[name] for name in MEMBERS if name in found}
        if "steps" in members:
            members["steps"] = tuple(Step(*step) for step in members["steps"])
        if "verdict" in members:
            members["verdict"] = Verdict(members["verdict"])
        return Trajectory(**members)
    except (JSONDecodeError, ConfigError, ValueError, TypeError, RecursionError) as error:
        said = error.message.removeprefix(f"{error.prefix}: ") if isinstance(error, ConfigError) else error
        raise ConfigError(f"line {number} is no trajectory: {said}") from error


def _text(request: str) -> str:
    return text_of_stdin() if request == "-" else request


def _members(match: "Match") -> dict[str, Any]:
    return {"id": match.id, "similarity": match.similarity, **match.trajectory.members()}


def _shown(match: "Match") -> list[str]:
    one = match.trajectory
    return [one.verdict.value, f"{one.quality:.2f}", _line(one.request), _line(one.response)]


def _line(text: str, most: int = 60) -> str:
    """A text in one line that fits into a table."""
    line = " ".join(terminal.visible(text).split())
    return line if len(line) <= most else line[: most - 1] + "…"
