"""`GET /health` and `GET /metrics`."""

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from ruvllm.serve.disclosure import public_message
from ruvllm.serve.server import server_of

__all__ = ["router"]

router = APIRouter(tags=["health"])


@router.get("/health", response_model=None)
async def health(request: Request) -> Response:
    """200 when requests are answered; 503 while the model loads, once an engine has stopped, before the end.

    A further model that could not be loaded is named, and no reason to end the others: a restart would not
    help, and whoever asks for it is told. The same holds of the first once it has been loaded: one that was
    given up is no fault, since it loads when it is asked for.
    """
    server = server_of(request)
    models = server.models
    first, unloaded = models.first, {}
    for model in models:
        if model.load_failure is not None and (model.was_loaded or model is not first):
            unloaded[model.name] = public_message(model.load_failure)
        elif model.status == "failed" and model.failure is not None:
            reason = {"status": "failed", "model": model.name, "reason": public_message(model.failure)}
            return JSONResponse(reason, 503)
    if server.leaving.is_set():
        return JSONResponse({"status": "leaving"}, 503)
    if not first.was_loaded:
        return JSONResponse({"status": "loading", "model": first.name}, 503, headers={"retry-after": "1"})
    return JSONResponse({"status": "ok", "not_loaded": unloaded} if unloaded else {"status": "ok"})


@router.get("/metrics", response_model=None)
async def metrics(request: Request) -> Response:
    """Counters, gauges and histograms for Prometheus."""
    text = await run_in_threadpool(server_of(request).metrics.text)
    return Response(text, media_type=CONTENT_TYPE_LATEST)
