"""What a server's refusals become."""

from datetime import datetime, timezone

import pytest

from ruvllm.client.failures import failure_in_stream, failure_of, retry_after_seconds
from ruvllm.errors import (
    AuthenticationError,
    BackendError,
    ConfigError,
    ContextLengthError,
    GenerationError,
    NotFoundError,
    OverloadedError,
    RuvLLMError,
)

OPENAI = (
    b'{"error": {"message": "top_k is -1", "type": "invalid_request_error", "param": "top_k", "code": null}}'
)
# Our own server's messages begin as the package's errors do; that is not said twice.
OURS = b'{"error": {"message": "Backend error: 5 requests wait already; try again in 7 s"}}'


@pytest.mark.parametrize(
    ("status", "body", "kind", "said"),
    [
        (400, OPENAI, ConfigError, "the server: top_k is -1"),
        (422, b'{"detail": [{"loc": ["top_k"], "msg": "bad"}]}', ConfigError, '[{"loc": ["top_k"]'),
        (413, b"", ConfigError, "no reason given"),
        (401, b'{"error": "no key"}', AuthenticationError, "no key; give the server's key with --api-key"),
        (403, b"{}", AuthenticationError, "--api-key or RUVLLM_API_KEY"),
        (404, b'{"error": {"message": "no model x"}}', NotFoundError, "no model x"),
        (404, b"<html>\n<h1>Not\n Found</h1>", NotFoundError, "<html> <h1>Not Found</h1>"),
        (429, b'{"error": {"message": "full"}}', OverloadedError, "the server: full"),
        (500, b'{"error": {"message": "broken"}}', BackendError, "broken (HTTP status 500)"),
        (503, b"", BackendError, "HTTP status 503"),
        (302, b"", BackendError, "HTTP status 302"),
        (500, b"[1, 2]", BackendError, "[1, 2]"),
        (500, b'{"error": {"message": {"deep": 1}}}', BackendError, '{"deep": 1}'),
        (400, b'{"error": {"message": "m", "code": "context_length_exceeded"}}', ContextLengthError, "m"),
        (400, b'{"error": {"message": "m", "type": "exceed_context_size_error"}}', ContextLengthError, "m"),
        (400, b'{"message": "This model\'s maximum context length is 8"}', ContextLengthError, "length is 8"),
        (400, b'{"error": {"message": "m", "code": ["odd"]}}', ConfigError, "m"),
    ],
)
def test_by_status(status: int, body: bytes, kind: type[RuvLLMError], said: str) -> None:
    error = failure_of(status, body, {})
    assert type(error) is kind
    assert said in str(error)


def test_when_to_come_back() -> None:
    error = failure_of(429, b"{}", {"retry-after": "7"})
    assert isinstance(error, OverloadedError)
    assert error.retry_after_seconds == 7
    assert "try again in 7 s" in str(error)
    error = failure_of(503, b"{}", {"retry-after": "2"})
    assert isinstance(error, OverloadedError)
    assert str(failure_of(429, OURS, {"retry-after": "7"})) == (
        "Backend error: 5 requests wait already; try again in 7 s"
    )
    assert failure_of(429, b"{}", {}).retry_after_seconds is None  # type: ignore[attr-defined]


def test_retry_after_as_seconds_and_as_a_date() -> None:
    now = datetime(2015, 10, 21, 7, 28, 0, tzinfo=timezone.utc)
    assert retry_after_seconds("Wed, 21 Oct 2015 07:28:30 GMT", now) == 30
    assert retry_after_seconds("Wed, 21 Oct 2015 07:27:30 GMT", now) == 0
    assert retry_after_seconds("Wed, 21 Oct 2015 07:28:30 -0000", now) == 30
    assert retry_after_seconds("120") == 120
    assert retry_after_seconds("-1") == 0
    for senseless in (None, "", "soon", "nan", "1e400"):
        assert retry_after_seconds(senseless) is None


def test_a_page_is_not_quoted_whole() -> None:
    assert len(str(failure_of(500, b"x" * 100_000, {}))) < 600


def test_in_the_stream() -> None:
    assert type(failure_in_stream({"message": "gone"})) is GenerationError
    assert str(failure_in_stream("gone")) == "Generation error: the server: gone"
    assert "no reason given" in str(failure_in_stream(None))
    too_long = failure_in_stream({"message": "m", "code": "context_length_exceeded"})
    assert type(too_long) is ContextLengthError
