"""`/v1/feedback`: what an answer was worth, what was learned of that, and its undoing; where learning is on.

A tenant's feedback changes that tenant's answers and nobody else's.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from fastapi import APIRouter, Request

from ruvllm.errors import InvalidOperationError, OverloadedError, RuvLLMError, SonaError, StorageError
from ruvllm.learning.values import AdaptationResult
from ruvllm.serve.errors import ApiError, api_error
from ruvllm.serve.given_answers import name_of
from ruvllm.serve.json_body import JsonRoute
from ruvllm.serve.model_learning import ModelLearning
from ruvllm.serve.models import ServedModel
from ruvllm.serve.off_loop import AT_ONCE
from ruvllm.serve.schemas.feedback import ConsolidateRequest, FeedbackRequest, RollbackRequest, TrainRequest
from ruvllm.serve.server import (
    Server,
    admin,
    count_answers,
    errand_of,
    note,
    server_of,
    tenant_of,
)

__all__ = ["router"]

router = APIRouter(route_class=JsonRoute, tags=["feedback"])

# Corrections of a tenant that may wait: each is a pass through the model, one after another.
MAX_CORRECTIONS = 4
# A write to the disk: never in the loop.
UPDATE_SIZE = 2 * AT_ONCE


@router.post("/v1/feedback", response_model=None)
async def give_feedback(body: FeedbackRequest, request: Request) -> dict[str, Any]:
    """Say what an answer was worth; answers how that changed what the model says to this tenant."""
    server, tenant = server_of(request), tenant_of(request)
    _check_fields(body, request)
    body.check()
    answer = name_of(body.completion_id, body.index or 0)
    try:
        given = server.given_answers.find(tenant, answer)
    except ApiError as unknown:
        raise _why_nothing_is_kept(server, tenant) or unknown from None
    # Where it was given up since, it knows nothing of the answer any more: the engine says so.
    await server.engine_for(request, given.model)
    learning = _learning_of(given.model)
    try:
        if body.corrected is not None:
            correct = partial(
                learning.correct,
                tenant,
                given.prompt.tolist(),
                body.corrected,
                kept_as=given.kept_as,
                answer=answer,
            )
            result = await _in_turn(server, tenant, given.model, correct)
        else:
            quality = ((body.feedback or 0.0) + 1) / 2
            update = partial(learning.feedback, tenant, given.kept_as, answer, quality)
            result = await errand_of(request).do(UPDATE_SIZE, update)
    except RuvLLMError as error:
        server.metrics.learning.refused(given.model.name, error)
        raise _refusal(error) from error
    server.metrics.learning.learned(given.model.name, result)
    note(request, model=given.model.name, applied=result.applied, generation=result.generation)
    return {"object": "feedback", "completion_id": body.completion_id, "index": body.index or 0} | _done(
        given.model, result
    )


@router.post("/v1/feedback/rollback", response_model=None)
async def undo_feedback(body: RollbackRequest, request: Request) -> dict[str, Any]:
    """Undo what this tenant's feedback changed; the next answers are as they were before, to the bit."""
    server, tenant = server_of(request), tenant_of(request)
    _check_fields(body, request)
    model = await _model_of(server, request, body)
    undo = partial(_learning_of(model).rollback, tenant, body.steps or 1, body.generation)
    try:
        result = await errand_of(request).do(UPDATE_SIZE, undo)
    except InvalidOperationError as error:
        raise ApiError(409, error.message, code="cannot_undo") from error
    server.metrics.learning.undone(model.name)
    note(request, model=model.name, generation=result.generation)
    return {"object": "feedback.rollback"} | _done(model, result)


@router.post("/v1/feedback/consolidate", response_model=None)
async def consolidate(body: ConsolidateRequest, request: Request) -> dict[str, Any]:
    """Make one adapter of what this tenant's feedback left since the last time, where that helps."""
    server, tenant = server_of(request), tenant_of(request)
    _check_fields(body, request)
    count_answers(request, 1)
    model = await _model_of(server, request, body)
    turn = partial(_learning_of(model).consolidate, tenant)
    try:
        # It measures what it made on many answers.
        result = await server.correcting.do(turn, model.uses.one())
    except RuvLLMError as error:
        raise _refusal(error) from error
    note(request, model=model.name, generation=result.generation)
    done = _done(model, result)
    told = ("model", "applied", "reason", "generation", "latency_us")
    return {"object": "feedback.consolidation", **{name: done[name] for name in told}} | {
        "samples": result.samples_used
    }


@router.post("/v1/feedback/train", response_model=None)
async def train(body: TrainRequest, request: Request) -> dict[str, Any]:
    """Begin to train all layers on a tenant's good answers: minutes of the processor, so for admin keys.

    `GET /v1/feedback` tells where it stands and how it ended, with a key of that tenant.
    """
    admin(request)
    server = server_of(request)
    _check_fields(body, request)
    tenant = body.tenant or tenant_of(request)
    model = await _model_of(server, request, body)
    learning = _learning_of(model)
    if body.tenant is not None and not learning.learns_for(tenant):
        message = f"nothing is learned for the tenant {tenant[:100]!r}"
        raise ApiError(404, message, code="not_found", param="tenant")
    try:
        num_samples = await errand_of(request).do(UPDATE_SIZE, partial(learning.train, tenant))
    except InvalidOperationError as error:
        raise ApiError(409, error.message, code="training_already") from error
    except RuvLLMError as error:
        raise _refusal(error) from error
    note(request, model=model.name, samples=num_samples)
    return {
        "object": "feedback.training",
        "model": model.name,
        "tenant": tenant,
        "status": "running",
        "samples": num_samples,
    }


@router.get("/v1/feedback", response_model=None)
async def learning_status(request: Request) -> dict[str, Any]:
    """Tell whether this server learns, and what it learned for this tenant on each model that is loaded."""
    server, tenant = server_of(request), tenant_of(request)
    data = [
        {"object": "learning", "model": model.name, **model.learning.status(tenant)}
        for model in server.models
        if model.learning is not None
    ]
    return {"object": "list", "learning": server.settings.learn, "tenant": tenant, "data": data}


async def _in_turn(
    server: Server, tenant: str, model: ServedModel, correct: Callable[[], AdaptationResult]
) -> AdaptationResult:
    if server.corrections[tenant] >= MAX_CORRECTIONS:
        message = f"{MAX_CORRECTIONS} corrections of this tenant wait already; try again later"
        raise ApiError(429, message, code="overloaded", headers={"retry-after": "1"})
    server.corrections[tenant] += 1
    try:
        return await server.correcting.do(correct, model.uses.one())
    finally:
        server.corrections[tenant] -= 1
        if not server.corrections[tenant]:
            del server.corrections[tenant]


async def _model_of(
    server: Server, request: Request, body: "ConsolidateRequest | RollbackRequest"
) -> ServedModel:
    """The model that a body means, loaded."""
    model = server.models.first if body.model is None else server.models.find(body.model)
    if model is None:
        raise server.models.not_found(body.model or "")
    await server.engine_for(request, model)
    return model


def _why_nothing_is_kept(server: Server, tenant: str) -> ApiError | None:
    """The reason that is not the client's, where there is one: as many learn as may."""
    try:
        for model in server.models:
            if model.learning is not None:
                model.learning.check_room(tenant)
    except OverloadedError as error:
        return api_error(error)
    return None


def _check_fields(body: "FeedbackRequest | ConsolidateRequest | RollbackRequest", request: Request) -> None:
    server = server_of(request)
    if not server.settings.learn:
        message = "this server does not learn: it was started without --learn"
        raise ApiError(400, message, code="learning_off")
    if num_unknown := body.check_fields():
        server.metrics.unknown_fields.labels(request.scope["route"].path).inc(num_unknown)


def _learning_of(model: ServedModel) -> ModelLearning:
    if model.learning is None:
        raise ApiError(503, f"the model {model.name} is not loaded", code="loading")
    return model.learning


def _refusal(error: RuvLLMError) -> ApiError:
    if isinstance(error, SonaError):
        return ApiError(400, error.message, code="invalid_value")
    if isinstance(error, StorageError | OverloadedError):
        return api_error(error)
    return api_error(error, param="completion_id")


def _done(model: ServedModel, result: AdaptationResult) -> dict[str, Any]:
    return {
        "model": model.name,
        "applied": result.applied,
        "reason": "; ".join(result.notes) or None,
        "advantage": result.quality_delta,
        "log_prob_change": result.logprob_change,
        "divergence": result.divergence,
        "drift": result.drift,
        "generation": result.generation,
        "latency_us": round(result.latency_us),
    }
