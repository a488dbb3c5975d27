"""`ruvllm decide` and `ruvllm calibrate`: typed questions about each line of a file."""

import codecs
import json
import sys
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, TypeVar

import typer

import ruvllm.whole_file as whole_file
from ruvllm.cli import terminal
from ruvllm.cli.command import CommonOptions, command, flag
from ruvllm.cli.opening import open_model
from ruvllm.cli.options import DEFAULT_MODEL, EngineOptions, ModelFlag
from ruvllm.cli.standard_input import open_stdin
from ruvllm.errors import ConfigError, IoError, RuvLLMError
from ruvllm.hub.progress import wants_bar

if TYPE_CHECKING:
    from ruvllm.decisions import DecisionParams, Example
    from ruvllm.decisions.questions import Question

__all__ = ["register"]

Result = TypeVar("Result")
# Lines that are under way at once: the steps of a few short inputs are shared.
AHEAD = 8
MAX_QUESTIONS_BYTES = 4 * 1024 * 1024


def register(app: typer.Typer) -> None:
    """Add the commands."""
    command(
        app,
        "decide",
        examples=[
            "ruvllm decide questions.json --input tickets.jsonl > answers.jsonl",
            "ruvllm decide questions.json -i tickets.jsonl -o answers.jsonl    again goes on where it ended",
            "ruvllm decide questions.json -i tickets.jsonl --orders all --calibration calibration.json",
        ],
    )(decide)
    command(
        app,
        "calibrate",
        examples=["ruvllm calibrate labelled.jsonl --model smollm2-135m --out calibration.json"],
    )(calibrate)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deciding:
    """How questions are decided."""

    model: ModelFlag = DEFAULT_MODEL
    orders: Annotated[
        str, flag("--orders", help="In how many orders options are shown, or all.", metavar="N")
    ] = "1"

    def params(self, **more: Any) -> "DecisionParams":
        """The library's own."""
        from ruvllm.decisions import DecisionParams

        orders: Any = int(self.orders) if self.orders.isdecimal() else self.orders
        return DecisionParams(orders=orders, **more)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answering:
    """What is read, and where answers go."""

    input: Annotated[
        Path | None,
        flag(
            "--input",
            "-i",
            variable="RUVLLM_DECIDE_INPUT",
            help="Lines of JSON: texts, or objects with `input`; else stdin.",
            metavar="FILE",
        ),
    ] = None
    out: Annotated[
        Path | None,
        flag(
            "--out",
            "-o",
            variable="RUVLLM_DECIDE_OUT",
            help="Where answers are added; lines that have one are left out.",
            metavar="FILE",
        ),
    ] = None
    calibration: Annotated[
        Path | None, flag("--calibration", help="What `ruvllm calibrate` wrote.", metavar="FILE")
    ] = None
    abstain_below: Annotated[
        float, flag("--abstain-below", help="Answers of less confidence are refusals.")
    ] = 0.0


def decide(
    questions: Annotated[
        Path, typer.Argument(help="A list of questions, or one, as JSON.", metavar="QUESTIONS.json")
    ],
    deciding: Deciding,
    answering: Answering,
    engine: EngineOptions,
    common: CommonOptions,
) -> None:
    """Answer typed questions about each line of a file with probabilities: an object a line, as they come."""
    from ruvllm.decisions.labelled import input_of

    asked = _questions(questions)
    params = deciding.params(calibration=answering.calibration, abstain_below=answering.abstain_below)
    with ExitStack() as stack:
        lines = _lines(answering.input, stack)
        write, done = _results(answering.out, stack)
        llm = stack.enter_context(open_model(deciding.model, engine, quiet=common.quiet))

        def answers(row: object) -> list[dict[str, Any]]:
            return llm.decide(input_of(row), asked, params).to_json()

        counted = stack.enter_context(_counting("Deciding", quiet=common.quiet))
        for number, answer in _in_turn(answers, _rows(lines, done)):
            write(json.dumps({"line": number, "answers": answer}, ensure_ascii=False) + "\n")
            counted()


def calibrate(
    labelled: Annotated[
        Path,
        typer.Argument(
            help="Lines of JSON, each with `input`, `questions` and `answers`.", metavar="LABELLED.jsonl"
        ),
    ],
    out: Annotated[
        Path,
        flag(
            "--out",
            "-o",
            variable="RUVLLM_CALIBRATE_OUT",
            help="The file of temperatures to write.",
            metavar="FILE",
        ),
    ],
    deciding: Deciding,
    engine: EngineOptions,
    common: CommonOptions,
) -> None:
    """Find the temperatures that make probabilities mean what they say, from answers that are known."""
    from ruvllm.decisions import Calibration, Labelled

    params = deciding.params()
    with ExitStack() as stack:
        lines = _lines(labelled, stack)
        llm = stack.enter_context(open_model(deciding.model, engine, quiet=common.quiet))
        counted = stack.enter_context(_counting("Measuring", quiet=common.quiet))
        examples: list[Example] = []

        def measured(row: object) -> "list[Example]":
            return llm.decision_examples(Labelled.of(row), params)

        for _, some in _in_turn(measured, _rows(lines, 0)):
            examples.extend(some)
            counted()
    if not examples:
        raise ConfigError(f"{labelled} has no labelled line")
    calibration = Calibration.fit(examples, model=deciding.model)
    calibration.save(out)
    for kind, temperature in calibration.temperatures.items():
        before, after, by_chance = _errors([one for one in examples if one.kind == kind])
        terminal.note(
            f"{kind}: {calibration.examples[kind]} answers, temperature {temperature:.3f}; expected "
            f"calibration error of a half that it was not fitted on {before:.3f}, with it {after:.3f} "
            f"({by_chance:.3f} by chance alone)"
        )


def _errors(examples: "list[Example]") -> tuple[float, float, float]:
    """The error of every second example: as it is, with the temperature of the others, by chance."""
    from ruvllm.decisions import Calibration
    from ruvllm.decisions.calibration import calibration_error, error_by_chance

    fitted = Calibration.fit(examples[::2])
    held_out = examples[1::2] or examples
    before, after = (calibration_error(held_out, one) for one in (Calibration(), fitted))
    return before, after, error_by_chance(held_out, fitted)


def _questions(path: Path) -> "list[Question]":
    from ruvllm.decisions.questions import questions_of

    try:
        with whole_file.open_regular(path) as file:
            return questions_of(json.loads(file.read(MAX_QUESTIONS_BYTES)))
    except OSError as error:
        raise IoError(f"{path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{path} is no JSON: {error}") from None


def _lines(path: Path | None, stack: ExitStack) -> IO[bytes]:
    """Lines as bytes, so that one that is no text is known by its number."""
    if path is None:
        return open_stdin()
    try:
        return stack.enter_context(path.open("rb"))
    except OSError as error:
        raise IoError(f"{path}: {error.strerror or error}") from error


def _results(path: Path | None, stack: ExitStack) -> tuple[Callable[[str], object], int]:
    """What takes answers, and up to which line they are there already; a torn last line goes."""
    if path is None:
        return _print, 0
    try:
        if not path.exists():
            with whole_file.replacing(path):
                pass
        file = stack.enter_context(whole_file.open_to_append(path))
    except OSError as error:
        raise IoError(f"{path}: {error.strerror or error}") from error
    file.seek(0)
    known = file.readall() or b""
    whole = known[: known.rfind(b"\n") + 1]
    file.truncate(len(whole))
    return lambda line: file.write(line.encode()), _last_line(whole, path)


def _print(line: str) -> None:
    sys.stdout.write(line)
    sys.stdout.flush()


def _last_line(answers: bytes, path: Path) -> int:
    """The number of the last line that has an answer."""
    if not answers:
        return 0
    try:
        return int(json.loads(answers.splitlines()[-1])["line"])
    except (ValueError, KeyError, TypeError):
        raise ConfigError(f"{path} holds something else than answers; give another --out") from None


def _rows(lines: IO[bytes], done: int) -> Iterator[tuple[int, object]]:
    """The lines that are not done, with their numbers from 1; empty ones are none."""
    for number, line in enumerate(lines, 1):
        # Some editors put a mark before the first character of a file.
        read = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
        if number <= done or not read.strip():
            continue
        try:
            row = json.loads(read.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"line {number} is no JSON: {error}") from None
        yield number, row


def _in_turn(
    work: Callable[[object], Result], rows: Iterator[tuple[int, object]]
) -> Iterator[tuple[int, Result]]:
    """What comes of each row, in their order; a few are under way at once.

    A row that is none ends it, once those before it are there: what was computed is not lost.
    """
    waiting: deque[tuple[int, Future[Result]]] = deque()
    broken: ConfigError | None = None
    with ThreadPoolExecutor(AHEAD, thread_name_prefix="ruvllm-decide") as pool:
        try:
            try:
                for number, row in rows:
                    waiting.append((number, pool.submit(work, row)))
                    if len(waiting) > AHEAD:
                        yield _outcome(*waiting.popleft())
            except ConfigError as error:
                broken = error
            while waiting:
                yield _outcome(*waiting.popleft())
            if broken is not None:
                raise broken
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _outcome(number: int, result: "Future[Result]") -> tuple[int, Result]:
    try:
        return number, result.result()
    except RuvLLMError as error:
        raise ConfigError(f"line {number}: {error}") from error


@contextmanager
def _counting(title: str, *, quiet: bool) -> Iterator[Callable[[], None]]:
    """Counts lines in a bar on stderr, where one is wanted."""
    if not wants_bar(quiet=quiet):
        yield lambda: None
        return
    from rich.progress import Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), TextColumn("{task.completed} lines"), TimeElapsedColumn())
    with Progress(*columns, console=terminal.err(), transient=True) as progress:
        task = progress.add_task(title, total=None)
        yield lambda: progress.advance(task)
