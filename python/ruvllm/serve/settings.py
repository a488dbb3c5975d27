"""What a server is told at its start."""

import ipaddress
import re
from dataclasses import dataclass, field

from ruvllm._checks import Interval, check_integer, check_number
from ruvllm.errors import ConfigError
from ruvllm.serve.keys import KeyRing

__all__ = ["ServerSettings", "check_exposure", "is_loopback", "local_names"]

_METRICS_PREFIX = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """How the server treats its clients.

    Attributes:
        keys: The keys that open it; none leaves it open.
        cors_origins: Origins whose pages may call it; none by default, `*` for all.
        allowed_hosts: `Host` headers that are answered, `None` for any: a server on this machine alone
            must not answer a page that made its own name point here.
        max_body_bytes: The largest request.
        max_choices: The most answers to one request (`n`, `best_of`).
        max_inputs: The most prompts or texts of one request.
        stream_interval: Pieces of a stream are at least this many seconds apart, but for the first and the
            last; tokens made meanwhile go together. 0 sends each at once, for more processor time.
        ping_seconds: A stream that has nothing to say says so this often.
        write_seconds: A client that takes nothing of its answer for so long is hung up on.
        metrics_prefix: What the names at `/metrics` begin with, before their colon.
        max_stored_responses: How many `/v1/responses` are kept for `previous_response_id`.
        max_stored_bytes: What the texts of all of them may take.
    """

    keys: KeyRing = field(default_factory=lambda: KeyRing(()))
    cors_origins: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] | None = None
    max_body_bytes: int = 4 * 1024 * 1024
    max_choices: int = 16
    max_inputs: int = 256
    stream_interval: float = 0.02
    ping_seconds: float = 15.0
    write_seconds: float = 60.0
    metrics_prefix: str = "ruvllm"
    max_stored_responses: int = 1000
    max_stored_bytes: int = 256 * 1024 * 1024

    def __post_init__(self) -> None:
        for name in ("max_body_bytes", "max_choices", "max_inputs"):
            check_integer(name, getattr(self, name), 1)
        for name in ("max_stored_responses", "max_stored_bytes"):
            check_integer(name, getattr(self, name), 0)
        check_number("stream_interval", self.stream_interval, Interval(0, 1))
        for name in ("ping_seconds", "write_seconds"):
            check_number(name, getattr(self, name), Interval(0, 3600, low_included=False))
        if not _METRICS_PREFIX.fullmatch(self.metrics_prefix):
            raise ConfigError(
                f"metrics_prefix is {self.metrics_prefix!r}; it must be letters, digits and _, no digit first"
            )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def local_names(host: str) -> tuple[str, ...] | None:
    """The `Host` headers that reach a server on this machine alone; `None` for one that others reach."""
    if not is_loopback(host):
        return None
    return ("localhost", "127.0.0.1", "[::1]", f"[{host}]" if ":" in host else host.lower())


def check_exposure(host: str, keys: KeyRing, *, insecure: bool) -> None:
    """Refuse to serve everyone without a key, unless that is what is wanted."""
    if not is_loopback(host) and not len(keys) and not insecure:
        raise ConfigError(
            f"{host} can be reached from other machines, and there is no key: give --api-key or "
            "--api-key-file, or --insecure to serve everyone who gets there"
        )
