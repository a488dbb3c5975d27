"""`ruvllm learn status`, `feedback` and `rollback`: over a server that runs, or in the folder of one."""

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from ruvllm.cli import terminal
from ruvllm.cli.command import CommonOptions, command, flag
from ruvllm.cli.learn.stored import StoredLearning, TenantFlag, stored_rollback, stored_status
from ruvllm.cli.options import RunningServer
from ruvllm.errors import ConfigError

__all__ = ["register"]


# Between two looks at a turn that takes minutes.
POLL_SECONDS = 0.5

LearnedModelFlag = Annotated[
    str | None,
    flag(
        "--model",
        "-m",
        variable="RUVLLM_LEARN_MODEL",
        help="Which model of the server; its first where it is left out.",
        metavar="MODEL",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Saying:
    """What is said of an answer."""

    good: Annotated[bool, flag("--good", variable="RUVLLM_LEARN_GOOD", help="The answer was good: 1.")] = (
        False
    )
    bad: Annotated[bool, flag("--bad", variable="RUVLLM_LEARN_BAD", help="It was bad: -1.")] = False
    value: Annotated[
        float | None,
        flag("--value", variable="RUVLLM_LEARN_VALUE", help="Anything between.", min=-1.0, max=1.0),
    ] = None
    corrected: Annotated[
        Path | None,
        flag(
            "--corrected",
            variable="RUVLLM_LEARN_CORRECTED",
            help="A file with what the answer should have been.",
            exists=True,
            dir_okay=False,
        ),
    ] = None
    index: Annotated[
        int, flag("--index", variable="RUVLLM_LEARN_INDEX", help="Which of several choices.", min=0)
    ] = 0

    def said(self) -> tuple[float | None, str | None]:
        """A number or a text."""
        values = [1.0 if self.good else None, -1.0 if self.bad else None, self.value]
        given = [one for one in values if one is not None]
        if len(given) + (self.corrected is not None) != 1 or not all(map(math.isfinite, given)):
            raise ConfigError("give one of --good, --bad, --value and --corrected")
        return (given[0], None) if self.corrected is None else (None, _text_of(self.corrected))


def register(app: typer.Typer) -> None:
    """Add the commands."""
    command(
        app,
        "status",
        examples=[
            "ruvllm learn status                             of the server at http://127.0.0.1:8000",
            "ruvllm learn status --learn-dir learned --json  of a folder, whoever writes there",
        ],
    )(status)
    command(
        app,
        "feedback",
        examples=[
            "ruvllm learn feedback chatcmpl-0123456789 --good",
            "ruvllm learn feedback chatcmpl-0123456789 --value -0.5",
            "ruvllm learn feedback chatcmpl-0123456789 --corrected better.txt",
        ],
    )(feedback)
    command(
        app,
        "rollback",
        examples=[
            "ruvllm learn rollback                           what this key's feedback changed last",
            "ruvllm learn rollback --learn-dir learned --tenant acme --steps 3",
        ],
    )(rollback)

    command(
        app,
        "consolidate",
        examples=["ruvllm learn consolidate    what the background loop does by itself, now"],
    )(consolidate)
    command(
        app,
        "train",
        examples=[
            "ruvllm learn train                     all layers, on the good answers of this key's tenant",
            "ruvllm learn train --tenant acme --wait",
        ],
    )(train)


def status(
    running: RunningServer,
    stored: StoredLearning,
    *,
    json: Annotated[bool, flag("--json", help="For programs.")] = False,
) -> None:
    """Show what was learned: by a server for your key, or with --learn-dir for all tenants of a folder."""
    if stored.learn_dir is not None:
        found = stored_status(stored)
    else:
        with running.client() as server:
            told = server.learning()
        if not told.get("learning"):
            terminal.note("this server does not learn: it was started without --learn")
        found = [{"tenant": told.get("tenant"), **one} for one in told["data"]]
    if json:
        terminal.print_json(found)
        return
    columns = ("TENANT", "MODEL", "GENERATION", "UPDATES", "FEEDBACK", "BASELINE", "CAN UNDO")
    keys = ("tenant", "model", "generation", "updates", "feedback", "baseline", "can_undo")
    rows = [tuple(_cell(one.get(key)) for key in keys) for one in found]
    terminal.show_table(columns, rows, right=columns[2:])


def feedback(
    completion_id: Annotated[
        str, typer.Argument(help="The `id` of the answer, as the server gave it.", metavar="ID")
    ],
    running: RunningServer,
    saying: Saying,
    common: CommonOptions,
    *,
    json: Annotated[bool, flag("--json", help="For programs.")] = False,
) -> None:
    """Tell a server what an answer was worth, and see what that changed."""
    value, text = saying.said()
    with running.client() as server:
        done = server.give_feedback(completion_id, feedback=value, corrected=text, index=saying.index)
    if json:
        terminal.print_json(done)
        return
    terminal.print_text(_told(done) + "\n")
    if done.get("applied") and not common.quiet:
        terminal.note("undo it with: ruvllm learn rollback")


def rollback(
    running: RunningServer,
    stored: StoredLearning,
    *,
    tenant: TenantFlag = None,
    steps: Annotated[int, flag("--steps", variable="RUVLLM_LEARN_STEPS", help="So many changes.", min=1)] = 1,
) -> None:
    """Undo what feedback changed: your key's in a server, or with --learn-dir a tenant's in a folder.

    In the folder of a server that runs nothing can be undone but by the server.
    """
    if stored.learn_dir is not None:
        done = stored_rollback(stored, tenant, steps)
    elif tenant is not None:
        raise ConfigError("--tenant goes with --learn-dir; in a server the key says whose it is")
    else:
        with running.client() as server:
            done = server.undo_feedback(steps=steps, model=stored.model)
    terminal.print_text(f"generation {done.get('generation')}: {done.get('reason')}\n")


def consolidate(
    running: RunningServer,
    *,
    model: LearnedModelFlag = None,
    json: Annotated[bool, flag("--json", help="For programs.")] = False,
) -> None:
    """Make one adapter of what your key's feedback left since the last time, where that helps."""
    with running.client() as server:
        done = server.consolidate(model=model)
    if json:
        terminal.print_json(done)
    else:
        terminal.print_text(f"generation {done.get('generation')}: {done.get('reason')}\n")


def train(
    running: RunningServer,
    common: CommonOptions,
    *,
    model: LearnedModelFlag = None,
    tenant: Annotated[
        str | None,
        flag("--tenant", variable="RUVLLM_LEARN_TENANT", help="Whose answers; this key's.", metavar="NAME"),
    ] = None,
    wait: Annotated[bool, flag("--wait", help="Wait until it has ended; for your key's own tenant.")] = False,
    json: Annotated[bool, flag("--json", help="For programs.")] = False,
) -> None:
    """Train all layers on a tenant's good answers, in the server, which takes minutes: for admin keys.

    What comes out is used where it makes answers likelier that were kept out of training.
    """
    if wait and tenant is not None:
        raise ConfigError("--wait is for the tenant of the key; `ruvllm learn status` with another's tells")
    with running.client() as server:
        done = server.begin_training(tenant=tenant, model=model)
        if not common.quiet:
            terminal.note(f"training on {done.get('samples')} answers of {done.get('tenant')!r}")
        while wait and done.get("status") == "running":
            time.sleep(POLL_SECONDS)
            done = _deep(server.learning(), done)
    if json:
        terminal.print_json(done)
    elif wait:
        terminal.print_text(f"{done.get('status')}{_told_deep(done)}\n")


def _deep(told: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """Where a tenant's deep turn stands."""
    model = before.get("model")
    found = next((one.get("deep") for one in told["data"] if one.get("model") == model), None)
    return {"model": model, "tenant": told.get("tenant"), **(found or {"status": "gone"})}


def _told_deep(done: dict[str, Any]) -> str:
    if done.get("log_prob_after") is None:
        return f": {done.get('reason')}"
    before, after = _cell(done["log_prob_before"]), _cell(done["log_prob_after"])
    return f": {before} to {after} nats a token on {done.get('judged')} answers kept out of training"


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--corrected: {path} cannot be read: {error}") from error


def _told(done: dict[str, Any]) -> str:
    if not done.get("applied"):
        return f"nothing changed: {done.get('reason')}"
    change, drift = _cell(done.get("log_prob_change")), _cell(done.get("drift"))
    return f"generation {done.get('generation')}: {change} nats a token likelier, drift {drift}"


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
