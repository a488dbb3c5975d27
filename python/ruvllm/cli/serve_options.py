"""Flags of `ruvllm serve`: where it listens and for whom, and how it treats requests."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from ruvllm.cli.command import flag
from ruvllm.serve.keys import ApiKey, KeyRing, read_key_file
from ruvllm.serve.settings import ServerSettings

__all__ = ["Listening", "Serving"]


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
