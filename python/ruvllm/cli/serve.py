"""`ruvllm serve`: models behind an OpenAI-compatible server, with a page to chat on."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

import ruvllm.hub as hub
from ruvllm.cli import terminal
from ruvllm.cli.command import CommonOptions, command, flag
from ruvllm.cli.fetching import fetched
from ruvllm.cli.model_files import LEARNED, file_of_model
from ruvllm.cli.options import DEFAULT_MODEL, EngineOptions
from ruvllm.config import Limits
from ruvllm.errors import ConfigError
from ruvllm.observability.logs import log_to_stderr
from ruvllm.observability.stderr import queue_stderr
from ruvllm.serve.keys import ApiKey, KeyRing, read_key_file
from ruvllm.serve.settings import ServerSettings, check_exposure, local_names

if TYPE_CHECKING:
    from ruvllm.llm import LLM
    from ruvllm.serve import ServedModel

__all__ = ["register"]

Models = Annotated[
    list[str] | None,
    typer.Argument(
        help="As for `ruvllm chat`, or NAME=MODEL; all but the first are loaded on first use.",
        metavar="MODEL...",
        show_default=DEFAULT_MODEL,
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """Where it listens, and for whom."""

    host: Annotated[str, flag("--host", help="Address to listen at.")] = "127.0.0.1"
    port: Annotated[int, flag("--port", "-p", help="Its port; 0 takes any free one.", min=0, max=65535)] = (
        8000
    )
    api_key: Annotated[
        list[str] | None, flag("--api-key", help="A key that clients must send; may be given again.")
    ] = None
    api_key_file: Annotated[
        Path | None,
        flag("--api-key-file", help="Keys, one a line, with tenant=, requests-per-minute=, ... after each."),
    ] = None
    insecure: Annotated[
        bool, flag("--insecure", help="Listen beyond this machine without a key: everyone may use it.")
    ] = False
    cors_origin: Annotated[
        list[str] | None,
        flag(
            "--cors-origin", help="An origin whose pages may call, as https://a.example; may be given again."
        ),
    ] = None

    def keys(self) -> KeyRing:
        """The keys of both flags."""
        from_file = read_key_file(self.api_key_file) if self.api_key_file else []
        return KeyRing([*(ApiKey.of(secret) for secret in self.api_key or ()), *from_file])


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """How it treats requests."""

    settings: ServerSettings
    max_waiting: Annotated[
        int | None, flag("--max-waiting", help="Requests that may wait; more get a 429.", min=1)
    ] = None
    calibration: Annotated[
        Path | None,
        flag(
            "--calibration",
            help="Temperatures of decisions, as `ruvllm calibrate` wrote them.",
            metavar="FILE",
        ),
    ] = None
    prefix_cache_dir: Annotated[
        Path | None,
        flag(
            "--prefix-cache-dir",
            help="Folder that keeps what was computed for the next start.",
            file_okay=False,
        ),
    ] = None
    adapter: Annotated[
        list[str] | None,
        flag(
            "--adapter",
            variable="RUVLLM_SERVE_ADAPTER",
            help="A low-rank adapter on the first model, or on MODEL, that requests ask for by NAME or "
            "MODEL:NAME; a folder of PEFT's. May be given again.",
            metavar="[MODEL:]NAME=FOLDER",
        ),
    ] = None
    adapter_dir: Annotated[
        list[Path] | None,
        flag(
            "--adapter-dir",
            help="Folder from which admin keys may load more adapters while it serves; without any, nobody "
            "may. May be given again.",
            exists=True,
            file_okay=False,
        ),
    ] = None
    adapter_list_dir: Annotated[
        Path | None,
        flag(
            "--adapter-list-dir",
            help="Folder that keeps which adapters there are for the next start, as they are loaded and "
            "unloaded while it serves.",
            file_okay=False,
        ),
    ] = None
    learn_dir: Annotated[
        Path | None,
        flag(
            "--learn-dir",
            help="Folder that keeps what --learn learns for the next start, and a journal of it; without one "
            "it is gone at the end.",
            file_okay=False,
        ),
    ] = None
    shutdown_grace: Annotated[
        int, flag("--shutdown-grace", help="Seconds for what runs when the server is told to end.", min=0)
    ] = 30
    drain_delay: Annotated[
        float,
        flag(
            "--drain-delay",
            help="Seconds after SIGTERM in which requests are still answered while /health says 503, so that "
            "a router sends the next ones elsewhere.",
            min=0.0,
            max=3600.0,
            rich_help_panel="Server",
        ),
    ] = 0.0
    log_format: Annotated[str, flag("--log-format", help="text or json.")] = "text"


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(
        app,
        "serve",
        examples=[
            "ruvllm serve                                  smollm2-135m at http://127.0.0.1:8000",
            "ruvllm serve small=smollm2-135m org/repo:Q4_K_M --port 9000",
            "ruvllm serve --host 0.0.0.0 --api-key-file keys.txt",
            "ruvllm serve --adapter tone=adapters/tone     model: tone, or smollm2-135m:tone",
            "ruvllm serve --learn --learn-dir learned      thumbs on the page teach the model",
            "curl http://127.0.0.1:8000/v1/chat/completions -H 'content-type: application/json' \\",
            '  -d \'{"model": "smollm2-135m", "messages": [{"role": "user", "content": "Hi"}]}\'',
        ],
    )(serve)


def serve(
    listening: Listening,
    serving: Serving,
    engine: EngineOptions,
    common: CommonOptions,
    *,
    models: Models = None,
) -> None:
    """Serve models to OpenAI's and Anthropic's clients, and a page to chat on.

    Point any OpenAI client at http://HOST:PORT/v1. The page is at /, the API's description at /docs,
    figures for Prometheus at /metrics. Ctrl-C or SIGTERM lets running requests end, then stops.

    Behind a router (docs/scale.md) give --drain-delay, too; it may ask for a prompt's tokens at .../render
    and for what is served at /server_info and /model_info.
    """
    _require_extra()
    from ruvllm.decisions import Calibration
    from ruvllm.serve import create_app
    from ruvllm.serve.running import open_closed_streams, run_server

    open_closed_streams()
    queue_stderr()
    keys = listening.keys()
    if serving.learn_dir is not None and not serving.settings.learn:
        raise ConfigError("--learn-dir keeps what is learned, and nothing is without --learn: give both")
    check_exposure(listening.host, keys, insecure=listening.insecure)
    settings = replace(
        serving.settings,
        keys=keys,
        cors_origins=tuple(listening.cors_origin or ()),
        allowed_hosts=local_names(listening.host),
        calibration=Calibration.load(serving.calibration) if serving.calibration else None,
        adapter_dirs=tuple(folder.absolute() for folder in serving.adapter_dir or ()),
    )
    if common.log_level == "warning" and not common.quiet:
        log_to_stderr("info", form=_checked_form(serving.log_format))
    served = [_served(name, engine, serving, quiet=common.quiet) for name in models or [DEFAULT_MODEL]]
    _give_adapters(serving.adapter or (), served)
    names = ", ".join(one.name for one in served)
    run_server(
        create_app(served, settings),
        host=listening.host,
        port=listening.port,
        drain_seconds=serving.shutdown_grace,
        drain_delay=serving.drain_delay,
        listening=lambda address: terminal.note(f"serving {names} at {address} (Ctrl-C ends)"),
    )


def _require_extra() -> None:
    try:
        import fastapi
        import httptools
        import prometheus_client
        import uvicorn
    except ImportError as error:
        raise ConfigError(f"the server needs more packages: pip install 'ruvllm[serve]' ({error})") from error
    del fastapi, httptools, prometheus_client, uvicorn


def _checked_form(form: str) -> Literal["text", "json"]:
    if form not in ("text", "json"):
        raise ConfigError(f"--log-format is {form!r}; it must be text or json")
    return "json" if form == "json" else "text"


def _served(argument: str, engine: EngineOptions, serving: Serving, *, quiet: bool) -> "ServedModel":
    """A model by its argument, its file fetched now, so that a wrong name ends the command."""
    from ruvllm.serve import ServedModel

    name, separator, reference = argument.partition("=")
    if not separator or Path(argument).exists():
        name, reference = argument, argument
    # Whole, so that answers, which name no folder, know one where they see it.
    path = fetched(reference, quiet=quiet, cache=engine.cache_dir, settings=engine.settings).absolute()
    if name == reference:
        name = hub.called(reference, hub.DEFAULT_REGISTRY)
    served = ServedModel(
        name,
        lambda: _open(path, engine, serving),
        prefix_file=file_of_model(serving.prefix_cache_dir, name, "prefixes"),
    )
    served.learned_folder = file_of_model(serving.learn_dir, name, LEARNED)
    served.adapter_list = file_of_model(serving.adapter_list_dir, name, "adapters.json")
    return served


def _give_adapters(given: Iterable[str], served: Sequence["ServedModel"]) -> None:
    """Tell the models which adapters they come with; what is no folder ends the command."""
    models = {one.name: one for one in served}
    for argument in given:
        # A model's name may have a colon; an adapter's has none.
        whole_name, _, folder = argument.partition("=")
        base, _, name = whole_name.rpartition(":")
        model = models.get(base) if base else served[0]
        if not name or not folder or model is None or name in models or model.has_adapter(name):
            raise ConfigError(
                f"--adapter {argument!r}: it must be NAME=FOLDER or MODEL:NAME=FOLDER, with a name that is "
                f"given once and is no model's, and one of the models {', '.join(models)}"
            )
        if not Path(folder).is_dir():
            raise ConfigError(f"--adapter {argument!r}: {folder} is no folder")
        model.comes_with(name, Path(folder).absolute())


def _open(path: Path, engine: EngineOptions, serving: Serving) -> "LLM":
    from ruvllm.llm import LLM

    limits = Limits(max_waiting=serving.max_waiting) if serving.max_waiting else None
    # It may load while it serves, and says so in its log.
    return LLM(path, progress=False, **replace(engine.settings, limits=limits).keywords())
