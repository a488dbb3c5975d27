"""`create_app`: the server as an ASGI application, to be run by `ruvllm serve` or mounted elsewhere."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from ruvllm._settings import SettingInForce
from ruvllm.async_engine import AsyncEngine
from ruvllm.errors import ConfigError, RuvLLMError
from ruvllm.llm import LLM
from ruvllm.serve.access import Access
from ruvllm.serve.adapter_folders import AdapterFolders
from ruvllm.serve.boundary import Boundary
from ruvllm.serve.dialects import error_response, is_anthropic, is_ollama
from ruvllm.serve.entrance import Entrance
from ruvllm.serve.errors import ApiError, api_error
from ruvllm.serve.json_body import validation_error
from ruvllm.serve.metrics import Metrics
from ruvllm.serve.model_learning import Teaching
from ruvllm.serve.models import ServedModel
from ruvllm.serve.origins import Origins, path_of
from ruvllm.serve.pulling import ModelStore, Pulls
from ruvllm.serve.routes import (
    adapters,
    cache,
    chat,
    completions,
    decisions,
    embeddings,
    feedback,
    health,
    infill,
    info,
    managing,
    messages,
    models,
    ollama,
    ollama_models,
    page,
    props,
    responses,
    tokens,
)
from ruvllm.serve.served_models import ServedModels
from ruvllm.serve.server import Server
from ruvllm.serve.settings import ServerSettings
from ruvllm.serve.sse import ClientLeftError
from ruvllm.serve.stored_responses import StoredResponses

__all__ = ["create_app"]

_ROUTERS = (
    page,
    chat,
    completions,
    responses,
    messages,
    embeddings,
    infill,
    ollama,
    ollama_models,
    decisions,
    feedback,
    models,
    managing,
    adapters,
    info,
    props,
    tokens,
    health,
    cache,
)
_PATHS = {route.path for module in _ROUTERS for route in module.router.routes if isinstance(route, APIRoute)}

Engine = LLM | AsyncEngine


def create_app(
    engine: Engine | Mapping[str, Engine] | Sequence[ServedModel],
    settings: ServerSettings | None = None,
    *,
    store: ModelStore | None = None,
    in_force: Sequence[SettingInForce] | None = None,
) -> FastAPI:
    """Make the server of one model or of several.

        app = create_app(AsyncEngine("smollm2-135m"))

    Args:
        engine: A loaded model, which clients ask for by the name that it was loaded by, or several by names
            of their own. They stay their owner's to
            close. `ServedModel`s instead are loaded on first use, the first at the start, and closed at
            the end.
        settings: Keys, limits, origins.
        store: Where admin keys may have further models fetched from; without one they cannot.
        in_force: Which settings hold and where each comes from, for `/props`; by default those above.
    """
    settings = settings or ServerSettings()
    served = ServedModels(_served(engine), settings.keys, keep_seconds=settings.idle_unload)
    if settings.learn:
        for model in served:
            model.learn(Teaching.of(settings))
    metrics = Metrics(served, prefix=settings.metrics_prefix)
    app = FastAPI(
        title="RuvLLM",
        version=version("ruvllm"),
        description="Language models on this machine's CPU, behind the APIs of OpenAI, Anthropic and Ollama.",
        lifespan=_lifespan,
        docs_url=None,
        redoc_url=None,
    )
    stored = StoredResponses(settings.max_stored_responses, settings.max_stored_bytes)
    server = app.state.server = Server(
        settings=settings,
        models=served,
        metrics=metrics,
        stored_responses=stored,
        access=Access(settings.keys, Origins(settings.cors_origins)),
        adapter_folders=AdapterFolders(settings.adapter_dirs),
        pulls=Pulls(store, served.add),
        in_force=tuple(settings.in_force() if in_force is None else in_force),
        entrance=Entrance(left=metrics.http.labels("POST", "none", "499").inc),
    )
    for module in _ROUTERS:
        app.include_router(module.router)
    app.add_middleware(
        Boundary, settings=settings, metrics=metrics, access=server.access, entrance=server.entrance
    )
    for kind, handler in _HANDLERS.items():
        app.add_exception_handler(kind, handler)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def _served(engine: Engine | Mapping[str, Engine] | Sequence[ServedModel]) -> list[ServedModel]:
    if isinstance(engine, Sequence):
        served = list(engine)
    else:
        named = engine if isinstance(engine, Mapping) else {_model_of(engine).name: engine}
        served = [
            ServedModel.loaded(name, one if isinstance(one, AsyncEngine) else AsyncEngine(one))
            for name, one in named.items()
        ]
    if not served:
        raise ConfigError("there is no model to serve")
    return served


def _model_of(engine: Engine) -> LLM:
    return engine.llm if isinstance(engine, AsyncEngine) else engine


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    server: Server = app.state.server
    first = server.models.first
    if first.engine is None:
        # In no variable, which would hold the model to the end of the server.
        first.loading.begin().add_done_callback(lambda task: _stop_without_a_model(app, task))
    try:
        yield
    finally:
        await server.pulls.close()
        await server.models.close()


def _stop_without_a_model(app: FastAPI, task: "asyncio.Task[AsyncEngine]") -> None:
    stop = getattr(app.state, "load_failed", None)
    if stop is not None and not task.cancelled() and task.exception() is not None:
        stop()


async def _on_validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    return error_response(validation_error(error), request.scope)


async def _on_http(request: Request, error: Exception) -> Response:
    """Errors of routes as they are; those of the framework (404, 405) in the same shape."""
    if isinstance(error, ApiError):
        return error_response(error, request.scope)
    assert isinstance(error, HTTPException)  # noqa: S101
    messages = {404: _nothing_at(request), 405: f"{request.method} is not answered here"}
    message = messages.get(error.status_code, str(error.detail))
    code = {404: "unknown_url", 405: "method_not_allowed"}.get(error.status_code)
    found = ApiError(error.status_code, message, code=code, headers=error.headers)
    return error_response(found, request.scope)


def _nothing_at(request: Request) -> str:
    """That no route has a path, with what is meant by who left `/v1` out of a base URL."""
    nothing = f"there is nothing at {request.url.path}"
    meant = f"/v1{path_of(request.scope)}"
    if meant in _PATHS:
        return f"{nothing}; there is {meant}: the base URL of OpenAI's clients ends in /v1"
    return nothing


async def _on_package_error(request: Request, error: Exception) -> Response:
    return error_response(api_error(error), request.scope)


async def _on_client_left(_: Request, error: Exception) -> Response:
    del error
    return Response(status_code=499)


_HANDLERS: dict[type[Exception], Any] = {
    RequestValidationError: _on_validation,
    HTTPException: _on_http,
    RuvLLMError: _on_package_error,
    ClientLeftError: _on_client_left,
    ClientDisconnect: _on_client_left,
}


def _openapi(app: FastAPI) -> dict[str, Any]:
    """FastAPI's description, with the errors as they really are."""
    if app.openapi_schema is None:
        schema = FastAPI.openapi(app)
        for path, operations in schema["paths"].items():
            name = "AnthropicError" if is_anthropic(path) else "OllamaError" if is_ollama(path) else "Error"
            for operation in operations.values():
                operation["responses"].pop("422", None)
                operation["responses"]["default"] = {"$ref": f"#/components/responses/{name}"}
        components = schema.setdefault("components", {})
        components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        components["responses"] = _ERRORS
        schemas = components.get("schemas", {})
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        schema["security"] = [{"key": []}, {}]
    return app.openapi_schema or {}


def _object_schema(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties}


def _error_schema(error: dict[str, Any], **properties: Any) -> dict[str, Any]:
    """How an error is described: an object with `error` inside, and what stands beside it."""
    schema = _object_schema({**properties, "error": error})
    return {"description": "What went wrong.", "content": {"application/json": {"schema": schema}}}


_TEXT = {"type": "string"}
_TEXT_OR_NULL = {"anyOf": [_TEXT, {"type": "null"}]}
_ERRORS = {
    "Error": _error_schema(
        _object_schema({"message": _TEXT, "type": _TEXT, "param": _TEXT_OR_NULL, "code": _TEXT_OR_NULL})
    ),
    "AnthropicError": _error_schema(
        _object_schema({"type": _TEXT, "message": _TEXT}), type={"const": "error"}, request_id=_TEXT
    ),
    "OllamaError": _error_schema(_TEXT),
}
