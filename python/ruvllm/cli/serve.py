"""`ruvllm serve`: models behind an OpenAI-compatible server, with a page to chat on."""

from dataclasses import replace
from typing import Annotated, Literal

import typer

from ruvllm.cli import terminal
from ruvllm.cli.command import CommonOptions, command
from ruvllm.cli.options import DEFAULT_MODEL, EngineOptions
from ruvllm.cli.serve_options import Listening, Serving
from ruvllm.cli.served import ModelMaker, give_adapters
from ruvllm.cli.settings_in_force import in_force
from ruvllm.errors import ConfigError
from ruvllm.observability.logs import log_to_stderr
from ruvllm.observability.stderr import queue_stderr
from ruvllm.serve.settings import check_exposure, local_names

__all__ = ["register"]

Models = Annotated[
    list[str] | None,
    typer.Argument(
        help="As for `ruvllm chat`, or NAME=MODEL; all but the first are loaded on first use.",
        metavar="MODEL...",
        envvar="RUVLLM_SERVE_MODELS",
        show_default=DEFAULT_MODEL,
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(
        app,
        "serve",
        examples=[
            "ruvllm serve                                  smollm2-135m at http://127.0.0.1:8000",
            "ruvllm serve small=smollm2-135m org/repo:Q4_K_M --port 9000",
            "ruvllm serve --host 0.0.0.0 --api-key-file keys.txt",
            "ruvllm serve small=smollm2-135m qwen2.5:1.5b --idle-unload 600   memory for those in use",
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
    context: typer.Context,
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
    maker = ModelMaker(engine, serving)
    served = [maker.of_argument(one, quiet=common.quiet) for one in models or [DEFAULT_MODEL]]
    give_adapters(serving.adapter or (), served)
    names = ", ".join(one.name for one in served)
    run_server(
        create_app(served, settings, store=maker.store(), in_force=in_force(context)),
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
