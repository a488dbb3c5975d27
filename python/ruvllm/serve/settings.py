"""What a server is told at its start."""

import ipaddress
import re
from dataclasses import dataclass, field
from pathlib import Path

from ruvllm._checks import Interval
from ruvllm._settings import SettingInForce, check_settings, described, setting, settings_of
from ruvllm.decisions import Calibration
from ruvllm.errors import ConfigError
from ruvllm.serve.keys import KeyRing

__all__ = ["ServerSettings", "check_exposure", "is_loopback", "local_names"]

_METRICS_PREFIX = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@described
@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """How the server treats its clients; each is spelt here, and `ruvllm serve` takes it from here.

    Attributes:
        keys: The keys that open it; none leaves it open.
        cors_origins: Origins whose pages may call it; none by default, `*` for all.
        allowed_hosts: `Host` headers that are answered, `None` for any: a server on this machine alone
            must not answer a page that made its own name point here.
        adapter_dirs: Folders from which admin keys may load adapters; none by default.
        calibration: The temperatures of decisions, as `ruvllm calibrate` found them; none by default.
        {settings}
    """

    keys: KeyRing = field(default_factory=lambda: KeyRing(()))
    cors_origins: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] | None = None
    adapter_dirs: tuple[Path, ...] = ()
    calibration: Calibration | None = None
    max_body_bytes: int = setting(4 * 1024 * 1024, "The largest request.", bounds=1)
    max_choices: int = setting(
        16, "The most answers to one request (`n`, `best_of`).", bounds=1, has_flag=False
    )
    max_inputs: int = setting(256, "The most prompts or texts of one request.", bounds=1, has_flag=False)
    stream_interval: float = setting(
        0.02,
        "Pieces of a stream are at least so many seconds apart, but for the first and the last; tokens made "
        "meanwhile go together. 0 sends each at once, for more processor time.",
        bounds=Interval(0, 1),
    )
    ping_seconds: float = setting(
        15.0,
        "A stream that has nothing to say sends a comment this often.",
        bounds=Interval(0, 3600, low_included=False),
    )
    write_seconds: float = setting(
        60.0,
        "A client that takes nothing of its answer for so long is hung up on.",
        bounds=Interval(0, 3600, low_included=False),
    )
    idle_unload: float | None = setting(
        None,
        "A model that nobody has used for so many seconds is given up, and loaded again when it is asked "
        "for; by default it stays.",
        bounds=Interval(0, 10_000_000),
    )
    metrics_prefix: str = setting(
        "ruvllm", "What the names at /metrics begin with; vllm for those who read only its names."
    )
    max_stored_responses: int = setting(
        1000, "How many `/v1/responses` are kept for `previous_response_id`.", bounds=0, has_flag=False
    )
    max_stored_bytes: int = setting(
        256 * 1024 * 1024, "What the texts of all of them may take.", bounds=0, has_flag=False
    )

    learn: bool = setting(
        default=False,
        help="Let feedback (`/v1/feedback`, thumbs on the page) change what the model says to whom it comes "
        "from.",
    )
    learn_tenants: int = setting(
        64, "So many tenants may teach a model at once, each of whom takes up to 36 MiB.", bounds=1
    )
    learn_interval: float = setting(
        60.0,
        "Seconds between two turns of a tenant's background loop, which makes one adapter of what feedback "
        "left, where that helps; 0 takes none.",
        bounds=Interval(0, 86_400),
    )
    learn_samples: int = setting(10, "Answers with feedback that such a turn waits for.", bounds=1)

    def __post_init__(self) -> None:
        check_settings(self)
        if not _METRICS_PREFIX.fullmatch(self.metrics_prefix):
            raise ConfigError(
                f"metrics_prefix is {self.metrics_prefix!r}; it must be letters, digits and _, no digit first"
            )

    def in_force(self) -> list[SettingInForce]:
        """The settings as a program gave them."""
        return [
            SettingInForce(one.name, value, "default" if value == one.default else "program")
            for one in settings_of(type(self))
            for value in [getattr(self, one.name)]
        ]

    @property
    def open_tenant(self) -> str:
        """Whose requests are that come without a key; what is learned is learned for somebody."""
        return "default" if self.learn else ""


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
