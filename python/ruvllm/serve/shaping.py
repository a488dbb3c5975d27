"""Answers that are held to a grammar: compiled beside the event loop before anything is begun."""

from dataclasses import replace

from ruvllm.errors import ConfigError, GrammarError
from ruvllm.grammar import Grammar
from ruvllm.params import GenerateParams
from ruvllm.runtime.grammars import strict_fault
from ruvllm.serve.answer_reading import Reading
from ruvllm.serve.asked_model import AskedModel
from ruvllm.serve.conversation import TOOL_SIZE
from ruvllm.serve.errors import ApiError, api_error
from ruvllm.serve.off_loop import AT_ONCE, Errand
from ruvllm.serve.schemas.shapes import AskedShape
from ruvllm.serve.tool_use import NO_TOOLS

__all__ = ["shaped"]


async def shaped(
    errand: Errand,
    model: AskedModel,
    params: GenerateParams,
    asked: AskedShape | None,
    reading: Reading | None = None,
) -> GenerateParams:
    """The parameters with the grammar that was asked for; 400 where it cannot be honoured.

    `reading` is how a conversation's answer is read. Its tools may have to be called; where the prompt has
    begun what the model thinks, the grammar begins after it; and the control tokens of thoughts and calls are
    shown to whoever reads the answer.
    """
    use = NO_TOOLS
    if reading is not None:
        params, use = replace(params, keep_special=reading.keep_special), reading.use
    if asked is None and not use.is_held:
        return params
    # A new grammar takes some milliseconds, and a model's first one makes its vocabulary ready.
    size = AT_ONCE + TOOL_SIZE * len(use.tools) + (len(asked.grammar.source) if asked else 0)
    return await errand.do(size, lambda: _held(model, params, asked, reading))


def _held(
    model: AskedModel, params: GenerateParams, asked: AskedShape | None, reading: Reading | None
) -> GenerateParams:
    """Compile the grammar, which is kept for the answers; the error says what in the body is wrong."""
    try:
        grammar = asked.grammar if asked else None
        if reading is not None:
            grammar = reading.grammar(grammar)
        params = replace(params, grammar=grammar)
        if grammar is not None:
            model.llm.check_grammar(grammar)
    except GrammarError as error:
        raise _error(model, error, asked, reading) from error
    except ConfigError as error:
        raise api_error(error, param=asked.param if asked else "tool_choice") from error
    return params


def _error(
    model: AskedModel, error: GrammarError, asked: AskedShape | None, reading: Reading | None
) -> ApiError:
    place, code = "tools", "invalid_grammar"
    tools = () if reading is None else reading.use.tools
    if reading is not None and (fault := strict_fault(model.llm.check_grammar, tools)) is not None:
        tool, error = fault
        place, code = reading.use.places[tool.name], "invalid_json_schema"
    elif asked is not None:
        place = asked.param
        code = "invalid_json_schema" if asked.grammar.kind == "json_schema" else code
        error = _alone(model, asked.grammar) or error
    place += error.pointer or ""
    message = f"{error.message} (at {place})" if error.pointer else error.message
    return ApiError(400, message, code=code, param=place)


def _alone(model: AskedModel, grammar: Grammar) -> GrammarError | None:
    """What is wrong in a grammar without those of calls and thoughts around it."""
    try:
        model.llm.check_grammar(grammar)
    except GrammarError as error:
        return error
    return None
