"""What users write as a server's URL."""

import pytest

from ruvllm.client.address import Address
from ruvllm.errors import ConfigError


@pytest.mark.parametrize(
    ("url", "api", "root"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000/v1", "http://127.0.0.1:8000"),
        ("http://127.0.0.1:8000/", "http://127.0.0.1:8000/v1", "http://127.0.0.1:8000"),
        (" http://localhost:8000/v1/ ", "http://localhost:8000/v1", "http://localhost:8000"),
        ("https://example.org/api/v1", "https://example.org/api/v1", "https://example.org/api"),
        ("https://example.org/v1beta/openai/", "https://example.org/v1beta/openai", None),
        ("http://[::1]:80", "http://[::1]:80/v1", "http://[::1]:80"),
    ],
)
def test_read(url: str, api: str, root: str | None) -> None:
    address = Address.of(url)
    assert (address.api, address.root) == (api, root or api)


def test_ports_and_machines() -> None:
    assert (Address.of("https://example.org").port, Address.of("https://example.org").is_tls) == (443, True)
    assert (Address.of("http://example.org").port, Address.of("http://example.org").is_tls) == (80, False)
    assert Address.of("http://[::1]:81").port == 81
    for local in ("http://localhost", "http://127.0.0.1", "http://127.3.2.1:9", "http://[::1]"):
        assert Address.of(local).is_local
    for far in ("http://example.org", "http://10.0.0.1", "http://localhost.example.org"):
        assert not Address.of(far).is_local


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:8000",
        "ftp://x",
        "http://",
        "http://x:y",
        "http://x:99999",
        "http://x/?a=b",
        "http://u@x",
        "http://x#y",
    ],
)
def test_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="the server's URL is"):
        Address.of(url)
