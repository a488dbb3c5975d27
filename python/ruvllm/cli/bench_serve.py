"""`ruvllm bench-serve`: how a server does under load, in the words of vLLM's `bench serve`."""

import json as json_module
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ruvllm.cli import bench_serve_report, terminal
from ruvllm.cli.command import CommonOptions, command, flag
from ruvllm.cli.options import ApiKeyFlag
from ruvllm.errors import ConfigError
from ruvllm.hub.progress import wants_bar

if TYPE_CHECKING:
    from ruvllm.client import ServerClient
    from ruvllm.client.load import ClosedLoop, OpenLoop, Workload

__all__ = ["register"]

DEFAULT_CONCURRENCY = 8
WARM_UP_TOKENS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """Whom to ask."""

    url: Annotated[str, flag("--url", help="The server.")] = "http://127.0.0.1:8000"
    model: Annotated[
        str | None,
        flag("--model", "-m", help="Its name at the server; else the server's first.", metavar="MODEL"),
    ] = None
    api_key: ApiKeyFlag = None
    timeout: Annotated[
        float, flag("--timeout", help="Seconds after which a request has failed.", min=0.1)
    ] = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """How many requests there are, and when they come."""

    requests: Annotated[int, flag("--requests", "-r", help="How many in all.", min=1)] = 64
    concurrency: Annotated[
        int | None,
        flag(
            "--concurrency",
            help=f"So many clients, each with one request at a time: a closed loop, of {DEFAULT_CONCURRENCY} "
            "where --rate is not given either.",
            min=1,
        ),
    ] = None
    rate: Annotated[
        float | None,
        flag(
            "--rate",
            help="Requests a second, at random times (Poisson), however many are under way: an open loop. "
            "inf sends all at once.",
        ),
    ] = None
    goodput: Annotated[
        list[str] | None,
        flag(
            "--goodput",
            help="Also count the requests that keep such levels, in ms: 'ttft:500 itl:50'. Of a request: "
            "ttft, tpot, the mean itl, e2el.",
        ),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadOptions:
    """What the requests ask."""

    prompt_tokens: Annotated[
        int, flag("--prompt-tokens", "-p", help="Tokens of random words in each.", min=1)
    ] = 128
    shared_prefix_tokens: Annotated[
        int,
        flag("--shared-prefix-tokens", help="Tokens of a system prompt that all share, beside those.", min=0),
    ] = 0
    max_tokens: Annotated[int, flag("--max-tokens", "-n", help="Longest answer.", min=1)] = 64
    ignore_eos: Annotated[
        bool,
        flag(
            "--ignore-eos",
            help="Ask for answers of exactly that length: a field of ours and of vLLM's, which other "
            "servers may not know.",
        ),
    ] = False
    disconnect_ratio: Annotated[
        float,
        flag(
            "--disconnect-ratio",
            help="This share hangs up at random in the middle of the answer.",
            min=0.0,
            max=1.0,
        ),
    ] = 0.0
    seed: Annotated[int, flag("--seed", help="Decides words, times and who hangs up.", min=0)] = 0
    extra_body: Annotated[
        str | None,
        flag("--extra-body", help="""Further fields of each request, as JSON: '{"temperature": 0.7}'."""),
    ] = None

    def workload(self, requests: int) -> "Workload":
        """What the library calls it."""
        from ruvllm.client.load import Workload

        values = asdict(self) | {"requests": requests, "extra_body": _read_object(self.extra_body)}
        return Workload(**values)


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(
        app,
        "bench-serve",
        examples=[
            "ruvllm bench-serve --concurrency 32 --requests 256    32 clients at a time",
            "ruvllm bench-serve --rate 4 --goodput 'ttft:500 itl:50'    4 a second: are they served well?",
            "ruvllm bench-serve --shared-prefix-tokens 512    what is the prefix cache worth?",
            "ruvllm bench-serve --url https://example.org/v1 --model NAME --json    any such server",
        ],
    )(bench_serve)


def bench_serve(
    server: ServerOptions,
    load: LoadOptions,
    workload: WorkloadOptions,
    common: CommonOptions,
    *,
    json: Annotated[bool, flag("--json", help="For programs.")] = False,
) -> None:
    """Put an OpenAI-compatible server under load and measure what its users would see.

    Sends chat requests of random words, greedy unless --extra-body says otherwise, and reads the streamed
    answers. Tokens are the server's own counts. One request before, uncounted, says whether the server works
    at all. Ends with 1 where a request failed; refusals with status 429 are no failures. Needs
    `pip install 'ruvllm[serve]'`.
    """
    from ruvllm.client import ServerClient
    from ruvllm.client.load import Report, Target, WordSupply, read_service_levels, run_load

    levels = read_service_levels(load.goodput or [])
    asked, loop = workload.workload(load.requests), _loop(load, workload.seed)
    with ServerClient(server.url, api_key=server.api_key, silence_seconds=server.timeout) as client:
        model = server.model or client.first_model()
        _warm_up(client, model)
        words = WordSupply.measured(client.count_tokens)
        target = Target(address=client.address, api_key=server.api_key, timeout_seconds=server.timeout)
    requests = asked.plan(model, words)
    with _bar(load.requests, quiet=common.quiet) as advance:
        run = run_load(target, requests, loop, lambda outcome: advance())
    report = Report.of(run, levels)
    setting: dict[str, Any] = {
        "url": server.url,
        "model": model,
        "concurrency": None if load.rate else load.concurrency or DEFAULT_CONCURRENCY,
        "rate": load.rate if load.rate != float("inf") else "inf",
        **asdict(asked),
        "prompts_sized_by": "tokens" if words.is_counted else "words",
        "service_levels_ms": levels,
    }
    if json:
        terminal.print_json({"load": setting, "result": report.as_json()})
    else:
        bench_serve_report.print_report(setting, report)
    if report.failures:
        raise typer.Exit(1)


def _loop(load: LoadOptions, seed: int) -> "ClosedLoop | OpenLoop":
    from ruvllm.client.load import ClosedLoop, OpenLoop, arrival_seconds

    if load.rate is None:
        return ClosedLoop(load.concurrency or DEFAULT_CONCURRENCY)
    if load.concurrency is not None:
        raise ConfigError(
            "--rate and --concurrency exclude each other: with --rate, requests come however many are "
            "under way"
        )
    return OpenLoop(arrival_seconds(load.requests, load.rate, seed))


def _warm_up(client: "ServerClient", model: str) -> None:
    """Ask once: what is wrong with key, model or server is one clear error then."""
    message = {"role": "user", "content": "Hello!"}
    with client.stream_chat(model, [message], {"max_tokens": WARM_UP_TOKENS}) as answer:
        for _ in answer:
            pass


def _read_object(text: str | None) -> dict[str, Any]:
    try:
        value = json_module.loads(text or "{}")
    except ValueError as error:
        raise ConfigError(f"extra_body is {text!r}, which is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise ConfigError(f'extra_body is {text!r}; it must be an object, like {{"temperature": 0.7}}')
    return value


@contextmanager
def _bar(total: int, *, quiet: bool) -> Iterator[Callable[[], None]]:
    """A bar on stderr that the function moves on by one."""
    if not wants_bar(quiet=quiet):
        yield lambda: None
        return
    from rich.progress import Progress

    # Drawing takes processor time from the server where both share a machine.
    with Progress(console=terminal.err(), transient=True, refresh_per_second=2) as progress:
        task = progress.add_task("Requests", total=total)
        yield lambda: progress.advance(task)
