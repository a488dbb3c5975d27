"""Answers that are held to a grammar: compiled beside the event loop before anything is begun."""

from dataclasses import replace

from ruvllm.errors import ConfigError, GrammarError
from ruvllm.params import GenerateParams
from ruvllm.serve.answer_reading import Reading
from ruvllm.serve.asked_model import AskedModel
from ruvllm.serve.errors import ApiError, api_error, unsupported
from ruvllm.serve.off_loop import AT_ONCE, Errand
from ruvllm.serve.schemas.shapes import AskedShape

__all__ = ["shaped"]


async def shaped(
    errand: Errand,
    model: AskedModel,
    params: GenerateParams,
    asked: AskedShape | None,
    reading: Reading | None = None,
) -> GenerateParams:
    """The parameters with the grammar that was asked for; 400 where it cannot be honoured.

    `reading` is how a conversation's answer is read: where the prompt has begun what the model thinks, the
    grammar begins after it, and the control tokens of its thoughts and calls are shown to whoever reads it.
    """
    if reading is not None:
        params = replace(params, keep_special=reading.response_format.keep_special)
    if asked is None:
        return params
    grammar, llm = asked.grammar, model.llm
    if reading is not None and reading.use.tools:
        raise unsupported(asked.param, "answers that may call tools are not held to a grammar; leave one out")
    if reading is not None and reading.thinking_open and reading.response_format.reasons is not None:
        grammar = grammar.starting_after(reading.response_format.reasons.closing)
    try:
        # A new grammar takes some milliseconds, and a model's first one makes its vocabulary ready.
        await errand.do(AT_ONCE + len(grammar.source), lambda: llm.check_grammar(grammar))
        return replace(params, grammar=grammar)
    except GrammarError as error:
        code = "invalid_json_schema" if grammar.kind == "json_schema" else "invalid_grammar"
        place = f"{asked.param}{error.pointer or ''}"
        message = f"{error.message} (at {place})" if error.pointer else error.message
        raise ApiError(400, message, code=code, param=place) from error
    except ConfigError as error:
        raise api_error(error, param=asked.param) from error
