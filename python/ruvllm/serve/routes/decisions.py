"""`POST /v1/decisions` and `/v1/systemone`: typed questions about an input, answered with probabilities.

Both are the same decisions in another form: OpenAI's, with a list of questions, and TypeSafe's, with named
ones.
"""

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from ruvllm.decisions import Answer, ChoiceAnswer, Decision, DecisionParams, PredicateAnswer
from ruvllm.decisions.orders import num_orders
from ruvllm.decisions.plan import DecisionPlan
from ruvllm.decisions.questions import Question, questions_of
from ruvllm.errors import RuvLLMError
from ruvllm.serve.asked_model import AskedModel
from ruvllm.serve.errors import api_error
from ruvllm.serve.evaluating import evaluated
from ruvllm.serve.json_answer import answer
from ruvllm.serve.json_body import JsonRoute
from ruvllm.serve.prompts import check_texts
from ruvllm.serve.schemas.decisions import DecisionFields, DecisionRequest, SystemOneRequest
from ruvllm.serve.server import count_answers, errand_of, server_of, terms_of

__all__ = ["router"]

router = APIRouter(route_class=JsonRoute, tags=["decisions"])

# An answer is written in the time in which so many characters become tokens.
ANSWER_SIZE = 64


@router.post("/v1/decisions", response_model=None)
async def decisions(body: DecisionRequest, request: Request) -> Response:
    """Answer each question: how likely a predicate is, which choice, what score."""
    server = server_of(request)
    model = await server.model_for(request, body)
    decision = await _decided(request, model, body, body.messages(), body.asked())
    usage = decision.usage

    def whole() -> dict[str, Any]:
        return {
            "model": model.name,
            "answers": decision.to_json(),
            "usage": {
                "input_tokens": usage.prompt_tokens,
                "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
                "output_tokens": 0,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": usage.total_tokens,
            },
        }

    return await answer(errand_of(request), ANSWER_SIZE * len(decision.answers), whole)


@router.post("/v1/systemone", response_model=None)
async def systemone(body: SystemOneRequest, request: Request) -> Response:
    """Answer each question by its name: a noul, a choice, a score."""
    server = server_of(request)
    model = await server.model_for(request, body)
    decision = await _decided(request, model, body, body.messages(), body.asked())

    def whole() -> dict[str, Any]:
        return {
            "model": model.name,
            "answers": {str(one.name): _system_one(one) for one in decision.answers},
            "usage": {"input_tokens": decision.usage.prompt_tokens, "output_tokens": 0},
        }

    return await answer(errand_of(request), ANSWER_SIZE * len(decision.answers), whole)


async def _decided(
    request: Request,
    model: AskedModel,
    body: DecisionFields,
    messages: list[dict[str, Any]],
    asked: list[dict[str, Any]],
) -> Decision:
    """The decision that a body asks for, unless its client leaves before."""
    server, errand = server_of(request), errand_of(request)
    questions, params = _checked(asked, body, server.settings.calibration)
    num_prompts = sum(num_orders(question, params.orders) for question in questions)
    count_answers(request, num_prompts)
    server.metrics.asked(model)
    texts = [message["content"] for message in messages]
    check_texts(model, texts, param="input")

    def work() -> DecisionPlan:
        return model.llm.decision_plan(messages, questions, params)

    try:
        # Every prompt has the whole input, and is tokenized.
        plan = await errand.do(num_prompts * sum(map(len, texts)) + ANSWER_SIZE * num_prompts, work)
    except RuvLLMError as error:
        raise api_error(error, param="input") from error
    terms = terms_of(request, model, body.priority)

    async def decide() -> Decision:
        engine = await model.ready()
        measured = await engine.on(terms).branches(plan.beginning, plan.branches)
        return plan.decision(measured, params)

    return await evaluated(request, model, plan.num_tokens, decide())


def _checked(
    asked: list[dict[str, Any]], body: DecisionFields, calibration: Any
) -> tuple[list[Question], DecisionParams]:
    """The questions and how they are decided; 400 for what the library refuses."""
    try:
        params = DecisionParams(
            orders=body.orders or 1,
            calibration=calibration,
            abstain_below=getattr(body, "abstain_below", None) or 0.0,
        )
        return questions_of(asked), params
    except RuvLLMError as error:
        raise api_error(error, param="questions") from error


def _system_one(one: Answer) -> dict[str, Any]:
    if isinstance(one, PredicateAnswer):
        return {"type": "noul", "noul": one.probability}
    if isinstance(one, ChoiceAnswer):
        shares = {str(value): share for value, share in one.probabilities}
        return {
            "type": "choice",
            "choice": one.choice,
            "confidence": one.confidence,
            "probabilities": shares,
        }
    return {
        "type": "score",
        "score": one.score,
        "confidence": one.confidence,
        "legend": {str(place): label for place, (label, _) in enumerate(one.probabilities)},
        "probabilities": {str(place): share for place, (_, share) in enumerate(one.probabilities)},
    }
