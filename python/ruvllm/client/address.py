"""Where a server is, out of what users write."""

from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from ruvllm.errors import ConfigError

__all__ = ["Address"]

_EXAMPLE = "http://127.0.0.1:8000"


@dataclass(frozen=True, slots=True)
class Address:
    """The beginning of a server's URLs.

    >>> Address.of("http://127.0.0.1:8000").api
    'http://127.0.0.1:8000/v1'
    >>> Address.of("https://example.org/openai/v1/").root
    'https://example.org/openai'

    Attributes:
        api: What stands before `/chat/completions`: OpenAI's "base URL".
        root: What stands before paths that are not OpenAI's, `/tokenize` for one.
        host: Its name or number.
        port: Its port.
        is_tls: Whether it is spoken to encrypted.
    """

    api: str
    root: str
    host: str
    port: int
    is_tls: bool

    @classmethod
    def of(cls, url: str) -> "Address":
        """Read a URL; one without a path gets `/v1`, and a path stands as it is."""
        parts = urlsplit(url.strip())
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"the server's URL is {url!r}; it must be like {_EXAMPLE}")
        if parts.query or parts.fragment or parts.username:
            raise ConfigError(
                f"the server's URL is {url!r}; it must have no query, fragment or user name, like {_EXAMPLE}"
            )
        path = parts.path.rstrip("/")
        origin = f"{parts.scheme}://{parts.netloc}"
        return cls(
            api=f"{origin}{path or '/v1'}",
            root=f"{origin}{path.removesuffix('/v1')}",
            host=parts.hostname,
            port=_port(parts, url),
            is_tls=parts.scheme == "https",
        )

    @property
    def is_local(self) -> bool:
        """Whether it is this machine, which no proxy leads to."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False


def _port(parts: SplitResult, url: str) -> int:
    try:
        return parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as error:
        raise ConfigError(f"the server's URL is {url!r}: {error}") from error
