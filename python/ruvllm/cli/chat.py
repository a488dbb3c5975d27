"""`ruvllm run` and `ruvllm chat`, the same under two names: one answer, or a conversation on the terminal."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ruvllm.cli import terminal
from ruvllm.cli.asking import Asked
from ruvllm.cli.command import CommonOptions, command, flag, flags_on_the_line, is_given
from ruvllm.cli.opening import open_model, warn_without_template
from ruvllm.cli.options import (
    DEFAULT_MODEL,
    AdapterOptions,
    ApiKeyFlag,
    EngineOptions,
    LocalOptions,
    SamplingOptions,
)
from ruvllm.cli.streaming import end_answer, stream_answer

if TYPE_CHECKING:
    from ruvllm.cli.partner import Partner

__all__ = ["register"]

MAX_TOKENS = 1024

# `run` is what Ollama's users type.
EXAMPLES = {
    "run": [
        "ruvllm run qwen2.5:1.5b 'What is the capital of France?'",
        "ruvllm run smollm2-135m                a chat",
        "git diff | ruvllm run org/repo:Q4_K_M 'Review this.'",
        "ruvllm run smollm2-135m 'Hello' --json --seed 7 | jq .usage",
    ],
    "chat": [
        "ruvllm chat                            with smollm2-135m",
        "ruvllm chat org/repo:Q4_K_M --system 'Answer in one sentence.'",
        "ruvllm chat --system 'Answer in one sentence.' -T 0 -p 'What is the capital of France?'",
        "echo 'Tell me a joke.' | ruvllm chat   one answer, without a terminal",
        "ruvllm chat --adapter adapters/tone        with an adapter on the model",
        "ruvllm chat --url http://127.0.0.1:8000    with what `ruvllm serve` serves",
    ],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """How a chat begins, and with whom."""

    system: Annotated[str | None, flag("--system", help="System prompt.")] = None
    json: Annotated[bool, flag("--json", help="One answer as an object, when it is done.")] = False
    url: Annotated[
        str | None,
        flag(
            "--url",
            help="Chat with this OpenAI-compatible server instead of loading a model, as "
            "http://127.0.0.1:8000. One that is not RuvLLM is sent only the sampling flags that are given.",
        ),
    ] = None
    api_key: ApiKeyFlag = None


def register(app: typer.Typer) -> None:
    """Add the command under both of its names."""
    for name, examples in EXAMPLES.items():
        command(app, name, examples=examples)(chat)


def chat(
    context: typer.Context,
    asked: Asked,
    opening: Opening,
    local: LocalOptions,
    sampling: SamplingOptions,
    common: CommonOptions,
) -> None:
    """Ask a model that is loaded here or, with --url, behind a server; `run` and `chat` are the same.

    With a PROMPT it is answered once. Without, there is a chat: Enter sends, Alt-Enter starts a new line,
    Ctrl-C stops an answer, Ctrl-D ends the chat, /help lists commands. Where stdin is no terminal, what it
    holds stands before PROMPT.
    """
    if opening.url is None:
        _refuse_key_without_url(context)
    else:
        _refuse_engine_flags(context)
    question = _question(asked.text(context, between="\n\n"), as_json=opening.json)
    model = asked.model_name(context)
    if opening.url is None:
        partner = _local_partner(opening, local, sampling, model, quiet=common.quiet)
    else:
        partner = _server_partner(context, opening, sampling, model)
    with partner as other:
        if question is None:
            from ruvllm.cli.chat_terminal import ChatTerminal

            ChatTerminal(other).run()
            return
        if opening.json:
            other.print_json(question)
            return
        answer = stream_answer(other.conversation.stream(question))
    end_answer(answer, verbose=common.verbose)


def _question(text: str | None, *, as_json: bool) -> str | None:
    """What is asked once; `None` for a chat."""
    if text is None:
        if as_json:
            raise typer.BadParameter("an object is one answer: give a PROMPT", param_hint="--json")
        if sys.stdout.isatty():
            return None
        terminal.note("stdout is no terminal: one prompt, ended with Ctrl-D, is answered")
        text = sys.stdin.read()
    if not (question := text.strip()):
        raise typer.BadParameter(
            "nothing to answer: stdin is no terminal and empty, and there is no PROMPT", param_hint="PROMPT"
        )
    return question


@contextmanager
def _local_partner(
    opening: Opening, local: LocalOptions, sampling: SamplingOptions, model: str | None, *, quiet: bool
) -> Iterator["Partner"]:
    params = sampling.params(max_tokens=MAX_TOKENS)
    if model is None and not quiet:
        terminal.note(
            f"{DEFAULT_MODEL} is very small and often wrong: `ruvllm list --fits` names better models"
        )
    model = model or DEFAULT_MODEL
    with open_model(model, local.engine, quiet=quiet) as llm:
        warn_without_template(llm, quiet=quiet)
        from ruvllm.chat.session import ChatSession
        from ruvllm.cli.partner import Partner

        session = ChatSession(llm, opening.system, params=params, adapter=local.adapters.load(llm))
        yield Partner.here(session, llm, model)


@contextmanager
def _server_partner(
    context: typer.Context, opening: Opening, sampling: SamplingOptions, model: str | None
) -> Iterator["Partner"]:
    from ruvllm.cli.partner import Partner
    from ruvllm.client import ServerClient, ServerSession
    from ruvllm.errors import NotFoundError

    with ServerClient(opening.url or "", api_key=opening.api_key) as server:
        name = model or server.first_model()
        try:
            is_ours = any(offered.is_ours for offered in server.models())
        except NotFoundError:  # not every server has a list
            is_ours = False
        settings = _settings(context, sampling, only_given=not is_ours)
        yield Partner.behind(ServerSession(server, name, opening.system, settings=settings), server)


def _settings(context: typer.Context, sampling: SamplingOptions, *, only_given: bool) -> dict[str, Any]:
    """The fields of a request. Another server may not know all of them: it gets those that were chosen."""
    sampling.params(max_tokens=MAX_TOKENS)  # the same values are refused as for a model here
    names = [field.name for field in fields(SamplingOptions)]
    if only_given:
        names = [name for name in names if is_given(context, name)]
    values = {name: getattr(sampling, name) for name in names}
    chosen = {name: value for name, value in values.items() if value is not None}
    return {"max_tokens": MAX_TOKENS} | chosen


def _refuse_engine_flags(context: typer.Context) -> None:
    if "--adapter" in flags_on_the_line(context, AdapterOptions):
        raise typer.BadParameter(
            "a server has its adapters by name: give the name as MODEL, or leave out --url",
            param_hint="--adapter",
        )
    if given := flags_on_the_line(context, EngineOptions):
        raise typer.BadParameter(
            f"{', '.join(given)} would set the engine, which runs in the server: give it to `ruvllm serve`, "
            "or leave out --url",
            param_hint="--url",
        )


def _refuse_key_without_url(context: typer.Context) -> None:
    if "--api-key" in flags_on_the_line(context, Opening):
        raise typer.BadParameter("a model that is loaded here needs no key", param_hint="--api-key")
