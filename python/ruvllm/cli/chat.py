"""`ruvllm run` and `ruvllm chat`, the same under two names: one answer, or a conversation on the terminal."""

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from ruvllm.cli import terminal
from ruvllm.cli.asking import Asked
from ruvllm.cli.command import (
    CommonOptions,
    command,
    flag,
    flags_on_the_line,
    is_given,
    stands_on_the_line,
)
from ruvllm.cli.options import (
    DEFAULT_MODEL,
    AdapterOptions,
    ApiKeyFlag,
    ChosenSampling,
    EngineOptions,
    LocalOptions,
    SamplingOptions,
)
from ruvllm.cli.showing import show_answer
from ruvllm.cli.streaming import end_answer

if TYPE_CHECKING:
    from ruvllm.cli.partner import Partner

__all__ = ["register"]

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
        "echo 'Why is the sky blue?' | ruvllm chat   one answer, without a terminal",
        "ruvllm chat --adapter adapters/tone        with an adapter on the model",
        "ruvllm chat --resume                   with the chat that /save kept last",
        "ruvllm chat --url http://127.0.0.1:8000    with what `ruvllm serve` serves",
    ],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """How a chat begins, and with whom."""

    system: Annotated[str | None, flag("--system", help="System prompt; an empty one is taken, too.")] = None
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
    resume: Annotated[
        bool,
        flag("--resume", help="Go on with the chat that was saved last, with its model where none is named."),
    ] = False


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
    sampling.refuse_what_has_no_effect()
    question = _question(asked.text(context, between="\n\n"), as_json=opening.json)
    if question is not None and stands_on_the_line(context, "resume"):
        raise typer.BadParameter("it is a chat that goes on: leave PROMPT out", param_hint="--resume")
    model = asked.model_name(context)
    chosen = ChosenSampling.of(context, sampling)
    if opening.url is None:
        partner = _local_partner(opening, local, chosen, model, quiet=common.quiet)
    else:
        partner = _server_partner(opening, chosen, model)
    with partner as other:
        if question is None:
            from ruvllm.cli.chat_terminal import ChatTerminal

            ChatTerminal(other).run(resume=opening.resume)
            return
        if opening.json:
            other.print_json(question)
            return
        if common.verbose and (recommended := other.recommended()):
            terminal.note(f"recommended for {other.title}: {recommended}")
        answer = show_answer(lambda: other.conversation.stream(question), other.parser)
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


def _local_partner(
    opening: Opening, local: LocalOptions, chosen: ChosenSampling, model: str | None, *, quiet: bool
) -> AbstractContextManager["Partner"]:
    if model is None and opening.resume:
        model = _model_of_newest(local)
    if model is None and not quiet:
        terminal.note(
            f"{DEFAULT_MODEL} is very small and often wrong: `ruvllm list --fits` names better models"
        )
    from ruvllm.cli.local_partner import LocalPartner

    return LocalPartner(model or DEFAULT_MODEL, local, opening.system, chosen, quiet=quiet)


def _model_of_newest(local: LocalOptions) -> str | None:
    """The model that the chat saved last was with, if it is on this machine."""
    import ruvllm.hub as hub
    from ruvllm.cli import saved_chats
    from ruvllm.errors import ConfigError, NotFoundError

    model = saved_chats.load_conversation(saved_chats.newest()).model
    try:
        if model:
            hub.find(model, cache=local.engine.cache_dir)
    except (ConfigError, NotFoundError):
        terminal.note(f"{model}, with which the chat was, is not on this machine")
        return None
    return model


@contextmanager
def _server_partner(opening: Opening, chosen: ChosenSampling, model: str | None) -> Iterator["Partner"]:
    from ruvllm.cli.server_partner import ServerPartner
    from ruvllm.client import ServerClient

    with ServerClient(opening.url or "", api_key=opening.api_key) as server:
        yield ServerPartner(server, model, opening.system, chosen)


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
    # Not on the line alone: it says how this chat's tokens are chosen, and is no setting of this machine.
    if is_given(context, "params"):
        raise typer.BadParameter(
            "what a model's makers recommend is read from its files, which the server has: "
            "give flags such as --temperature, or leave out --url",
            param_hint="--params",
        )


def _refuse_key_without_url(context: typer.Context) -> None:
    if "--api-key" in flags_on_the_line(context, Opening):
        raise typer.BadParameter("a model that is loaded here needs no key", param_hint="--api-key")
