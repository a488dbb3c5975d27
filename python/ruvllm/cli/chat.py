"""`ruvllm chat`: a conversation on the terminal, or one answer where there is none."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ruvllm.cli import terminal
from ruvllm.cli.command import CommonOptions, command, flag, flags_on_the_line, is_given
from ruvllm.cli.opening import open_model, warn_without_template
from ruvllm.cli.options import DEFAULT_MODEL, AdapterOptions, ApiKeyFlag, EngineOptions, SamplingOptions
from ruvllm.cli.streaming import stream_answer

if TYPE_CHECKING:
    from ruvllm.cli.partner import Partner

__all__ = ["register"]

MAX_TOKENS = 1024

_ModelArgument = Annotated[
    str | None,
    typer.Argument(
        help="smollm2-135m, org/repo, org/repo:Q4_K_M, hf://org/repo/file.gguf or a path; with --url, its "
        "name at the server.",
        envvar="RUVLLM_MODEL",
        metavar="MODEL",
        show_default=f"{DEFAULT_MODEL}; with --url, the server's first",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """How a chat begins, and with whom."""

    prompt: Annotated[
        str | None, flag("--prompt", "-p", help="Answer this and end, with a terminal or without.")
    ] = None
    system: Annotated[str | None, flag("--system", "-s", help="System prompt.")] = None
    url: Annotated[
        str | None,
        flag(
            "--url",
            help="Chat with this OpenAI-compatible server instead of loading a model, as "
            "http://127.0.0.1:8000. One that is not RuvLLM is sent only the sampling flags that are given.",
        ),
    ] = None
    api_key: ApiKeyFlag = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalOptions:
    """What is about a model that is loaded here."""

    engine: EngineOptions
    adapters: AdapterOptions


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(
        app,
        "chat",
        examples=[
            "ruvllm chat                            with smollm2-135m",
            "ruvllm chat org/repo:Q4_K_M --system 'Answer in one sentence.'",
            "ruvllm chat --prompt 'What is the capital of France?' --temperature 0",
            "echo 'Tell me a joke.' | ruvllm chat   one answer, without a terminal",
            "ruvllm chat --adapter adapters/tone        with an adapter on the model",
            "ruvllm chat --url http://127.0.0.1:8000    with what `ruvllm serve` serves",
        ],
    )(chat)


def chat(
    context: typer.Context,
    opening: Opening,
    local: LocalOptions,
    sampling: SamplingOptions,
    common: CommonOptions,
    *,
    model: _ModelArgument = None,
) -> None:
    """Chat with a model, loaded here or, with --url, behind a server.

    Enter sends, Alt-Enter starts a new line, Ctrl-C stops an answer, Ctrl-D ends the chat, /help lists
    commands. With no terminal on stdin, one prompt is read from it (or from --prompt) and answered on stdout.
    """
    if opening.url is None:
        _refuse_key_without_url(context)
        partner = _local_partner(opening, local, sampling, model or DEFAULT_MODEL, quiet=common.quiet)
    else:
        _refuse_engine_flags(context)
        partner = _server_partner(context, opening, sampling, model)
    interactive = opening.prompt is None and sys.stdin.isatty() and sys.stdout.isatty()
    question = "" if interactive else _one_question(opening.prompt)
    with partner as other:
        if interactive:
            from ruvllm.cli.chat_terminal import ChatTerminal

            ChatTerminal(other).run()
            return
        answer = stream_answer(other.conversation.stream(question))
    terminal.print_text("\n")
    if common.verbose:
        terminal.note(answer.summary())
    if answer.interrupted:
        raise typer.Exit(130)


@contextmanager
def _local_partner(
    opening: Opening, local: LocalOptions, sampling: SamplingOptions, model: str, *, quiet: bool
) -> Iterator["Partner"]:
    params = sampling.params(max_tokens=MAX_TOKENS)
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


def _one_question(prompt: str | None) -> str:
    if prompt is None and sys.stdin.isatty():
        terminal.note("stdout is no terminal: one prompt, ended with Ctrl-D, is answered")
    question = (sys.stdin.read() if prompt is None else prompt).strip()
    if not question:
        raise typer.BadParameter(
            "nothing to answer: stdin is no terminal and empty, and there is no --prompt",
            param_hint="--prompt",
        )
    return question
