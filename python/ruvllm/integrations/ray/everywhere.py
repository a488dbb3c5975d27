"""Requests that mean all workers: asked of each, or refused where only the configuration can answer them."""

from collections.abc import Iterable, Sequence
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from starlette.responses import Response
from starlette.types import Message

from ruvllm.serve.errors import ApiError

__all__ = ["check_one_can", "combined", "is_for_all"]

_FOR_ALL = {("GET", "/metrics"), ("POST", "/v1/cache/flush")}
# Each would change one worker, and the next request be answered by another.
_ADAPTERS = "adapters are published by `user_config: {adapters: ...}` of the deployment Worker"
_MODEL = "which model is served is said by `model` in the application's arguments"
_TRAINED = "what the deep loop makes stays with one worker; `ruvllm serve` takes its turns"
_CONFIGURED = {
    ("POST", "/v1/load_lora_adapter"): _ADAPTERS,
    ("POST", "/v1/unload_lora_adapter"): _ADAPTERS,
    ("POST", "/models/load"): _MODEL,
    ("POST", "/models/unload"): _MODEL,
    ("POST", "/models"): _MODEL,
    ("DELETE", "/models"): _MODEL,
    ("POST", "/api/pull"): _MODEL,
    ("DELETE", "/api/delete"): _MODEL,
    ("POST", "/v1/feedback/train"): _TRAINED,
}

Answer = tuple[str, Sequence[Message]]


def check_one_can(method: str, path: str) -> None:
    """`ApiError` for what one worker alone must not do."""
    if (why := _CONFIGURED.get((method, path))) is not None:
        raise ApiError(409, f"this changes one worker of several: {why}", code="many_workers")


def is_for_all(method: str, path: str) -> bool:
    """Whether every worker is asked."""
    return (method, path) in _FOR_ALL


def combined(path: str, answers: Sequence[Answer]) -> Response:
    """One answer of all: the figures of each beside its name, or the first that is no success."""
    if not answers:
        raise ApiError(503, "there is no worker", code="unavailable", headers={"retry-after": "1"})
    wholes = [(worker, *_whole(messages)) for worker, messages in answers]
    worst = max(wholes, key=lambda one: one[1])
    if path == "/metrics" and worst[1] == 200:
        text = generate_latest(_Figures([(worker, body.decode()) for worker, _, body, _ in wholes]))
        return Response(text, media_type=CONTENT_TYPE_LATEST)
    _, status, body, headers = worst
    response = Response(body, status)
    response.raw_headers = [(name, value) for name, value in headers if name.lower() != b"content-length"]
    response.headers["content-length"] = str(len(body))
    return response


def _whole(messages: Iterable[Message]) -> tuple[int, bytes, list[tuple[bytes, bytes]]]:
    status, headers, body = 500, list[tuple[bytes, bytes]](), b""
    for message in messages:
        if message["type"] == "http.response.start":
            status, headers = message["status"], list(message.get("headers", ()))
        else:
            body += message.get("body", b"")
    return status, body, headers


class _Figures:
    """What several workers tell Prometheus, told by one."""

    def __init__(self, pages: Iterable[tuple[str, str]]) -> None:
        self._pages = list(pages)

    def collect(self) -> "Iterable[Any]":
        families: dict[str, Metric] = {}
        for worker, page in self._pages:
            for family in text_string_to_metric_families(page):
                into = families.setdefault(
                    family.name, Metric(family.name, family.documentation, family.type)
                )
                into.samples += [_of(worker, sample) for sample in family.samples]
        return families.values()


def _of(worker: str, sample: Sample) -> Sample:
    return sample._replace(labels={**sample.labels, "replica": worker})
