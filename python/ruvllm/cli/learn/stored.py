"""`ruvllm learn log` and `export`, and what `status` and `rollback` do with a folder: no model, no server."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ruvllm.cli import terminal
from ruvllm.cli.command import CommonOptions, command, flag
from ruvllm.cli.model_files import LEARNED, file_of_model
from ruvllm.errors import ConfigError, NotFoundError

if TYPE_CHECKING:
    from ruvllm.learning.folder import LearnedFolder
    from ruvllm.learning.journal_entry import JournalEntry
    from ruvllm.learning.state_file import SavedState

__all__ = [
    "LearnDirFlag",
    "StoredLearning",
    "TenantFlag",
    "register",
    "stored_rollback",
    "stored_status",
]

LearnDirFlag = Annotated[
    Path | None,
    flag("--learn-dir", help="The folder that a server was given by --learn-dir.", file_okay=False),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredLearning:
    """What was learned, as it lies in a folder."""

    learn_dir: LearnDirFlag = None
    model: Annotated[
        str | None,
        flag(
            "--model",
            "-m",
            variable="RUVLLM_LEARN_MODEL",
            help="The model, by the name under which it is served; needed where the folder has several.",
            metavar="MODEL",
        ),
    ] = None

    def folders(self) -> dict[str, "LearnedFolder"]:
        """The folders of the models, or of the one that is asked for, by their names."""
        from ruvllm.learning.folder import LearnedFolder

        if self.learn_dir is None or not self.learn_dir.is_dir():
            raise ConfigError(
                f"--learn-dir is {self.learn_dir}; it must be a folder that a server learned in"
            )
        if self.model is None:
            found = sorted(self.learn_dir.glob(f"*.{LEARNED}"))
        else:
            path = file_of_model(self.learn_dir, self.model, LEARNED)
            found = [path] if path is not None and path.is_dir() else []
        if not found:
            what = "nothing" if self.model is None else f"nothing of {self.model!r}"
            raise NotFoundError(f"{what} was learned in {self.learn_dir}")
        # What stands behind the last - is the digest of the whole name.
        return {path.stem.rpartition("-")[0]: LearnedFolder(path) for path in found}

    def folder(self) -> "LearnedFolder":
        """The one folder that is meant."""
        folders = self.folders()
        if len(folders) > 1:
            raise ConfigError(f"the folder has several models; give --model: {', '.join(folders)}")
        return next(iter(folders.values()))


TenantFlag = Annotated[
    str | None,
    flag(
        "--tenant",
        variable="RUVLLM_LEARN_TENANT",
        help="Whose; `default` is everybody's where the server has no keys.",
        metavar="NAME",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    command(
        app,
        "log",
        examples=[
            "ruvllm learn log --learn-dir learned",
            "ruvllm learn log --learn-dir learned --tenant acme --last 20 --json",
        ],
    )(log)
    command(
        app,
        "export",
        examples=["ruvllm learn export acme.safetensors --learn-dir learned --tenant acme"],
    )(export)


def log(
    stored: StoredLearning,
    common: CommonOptions,
    *,
    tenant: TenantFlag = None,
    last: Annotated[
        int | None,
        flag("--last", variable="RUVLLM_LEARN_LAST", help="Only so many, the newest.", min=1),
    ] = None,
    json: Annotated[bool, flag("--json", help="For programs.")] = False,
) -> None:
    """Show the journal of what was taught; fails where a line of it is not as it was written."""
    from ruvllm.learning.journal_files import read_journal

    folder = stored.folder()
    reading = read_journal(folder.journal, tenant=tenant, last=last)
    if json:
        terminal.print_json([{"number": number, **entry.members()} for number, entry in reading.entries])
    else:
        _show(list(reading.entries))
    if reading.num_gone and not common.quiet:
        terminal.note(f"{reading.num_gone} older entries are gone: the journal keeps so much and no more")
    for fault in reading.faults:
        terminal.error(f"{fault.file}, line {fault.line}: {fault.what}")
    if reading.faults:
        raise typer.Exit(1)


def export(
    out: Annotated[
        Path, typer.Argument(help="The file to write; it must not be there.", metavar="FILE", dir_okay=False)
    ],
    stored: StoredLearning,
    common: CommonOptions,
    *,
    tenant: TenantFlag = None,
) -> None:
    """Write what a tenant's feedback taught into a safetensors file: A, B, their importance, and counts."""
    import ruvllm.whole_file as whole_file
    from ruvllm.errors import StorageError
    from ruvllm.learning.state_file import written_state

    saved = _of_tenant(stored.folder(), tenant)
    try:
        with whole_file.creating(out) as file:
            file.write(written_state(saved))
    except OSError as error:
        raise StorageError(f"{out} cannot be written: {error.strerror or error}") from error
    if not common.quiet:
        terminal.note(f"{os.fspath(out)} has generation {saved.state.generation} of {saved.state.tenant!r}")


def stored_status(stored: StoredLearning) -> list[dict[str, Any]]:
    """What is known of each tenant of each model, without loading any."""
    from ruvllm.learning.state import stored_tenants

    return [
        {
            "model": name,
            "tenant": saved.state.tenant,
            "generation": saved.state.generation,
            "updates": saved.state.updates,
            "feedback": saved.state.feedback,
            "baseline": saved.state.baseline,
            "can_undo": len(saved.earlier),
        }
        for name, folder in stored.folders().items()
        for saved in stored_tenants(folder.tenants)
    ]


def stored_rollback(stored: StoredLearning, tenant: str | None, steps: int) -> dict[str, Any]:
    """Undo changes in a folder in which no server writes."""
    from ruvllm.learning.journal import Journal
    from ruvllm.learning.journal_entry import JournalEntry
    from ruvllm.learning.state import TenantStates

    folder = stored.folder()
    saved = _of_tenant(folder, tenant)
    name = saved.state.tenant
    with TenantStates(folder.tenants, model=saved.model) as states, Journal(folder.journal) as journal:
        state, earlier = states.load(name), states.earlier(name)
        if state is None or steps > len(earlier):
            raise ConfigError(f"--steps is {steps}; {len(earlier)} changes of {name!r} can be undone")
        wanted = earlier[-steps]
        undone = replace(wanted, generation=state.generation + 1)
        with journal.room() as record:
            states.save(undone, earlier[:-steps])
            record(
                JournalEntry(
                    tenant=name,
                    loop="rollback",
                    applied=True,
                    reason=f"as generation {wanted.generation}",
                    generation_before=state.generation,
                    generation_after=undone.generation,
                )
            )
    return {"generation": undone.generation, "reason": f"as generation {wanted.generation}"}


def _of_tenant(folder: "LearnedFolder", tenant: str | None) -> "SavedState":
    from ruvllm.learning.state import stored_tenants

    tenants = {saved.state.tenant: saved for saved in stored_tenants(folder.tenants)}
    if tenant is None and len(tenants) == 1:
        return next(iter(tenants.values()))
    if tenant is None:
        raise ConfigError(f"give --tenant: {', '.join(sorted(tenants)[:20]) or 'there is none'}")
    if tenant not in tenants:
        raise NotFoundError(f"there is no tenant {tenant!r}; there is {', '.join(sorted(tenants)[:20])}")
    return tenants[tenant]


def _show(entries: "list[tuple[int, JournalEntry]]") -> None:
    columns = (
        "NUMBER", "TIME", "TENANT", "LOOP", "DONE", "FEEDBACK", "GENERATION", "CHANGE", "DRIFT", "ABOUT",
    )  # fmt: skip
    rows = [tuple(_cells(number, entry)) for number, entry in entries]
    terminal.show_table(columns, rows, right=("NUMBER", "FEEDBACK", "CHANGE", "DRIFT"))


def _cells(number: int, entry: "JournalEntry") -> Iterator[str]:
    yield str(number)
    yield datetime.fromtimestamp(entry.time, timezone.utc).isoformat(" ", "seconds")
    yield entry.tenant
    yield entry.loop
    yield "yes" if entry.applied else "no"
    yield _number(entry.feedback)
    before, after = entry.generation_before, entry.generation_after
    yield f"{before} > {after}" if before != after else str(after)
    yield _number(entry.log_prob_change)
    yield _number(entry.drift)
    yield " ".join(part for part in (entry.completion_id, entry.reason) if part)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"
