"""`ruvllm chat`: a conversation on the terminal, or one answer where there is none."""

import sys
from dataclasses import dataclass
from typing import Annotated

import typer

from ruvllm.cli import terminal
from ruvllm.cli.command import CommonOptions, command, flag
from ruvllm.cli.opening import open_model
from ruvllm.cli.options import DEFAULT_MODEL, EngineOptions, ModelArgument, SamplingOptions
from ruvllm.cli.streaming import stream_answer

__all__ = ["register"]

MAX_TOKENS = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """How a chat begins."""

    prompt: Annotated[
        str | None, flag("--prompt", "-p", help="Answer this and end, with a terminal or without.")
    ] = None
    system: Annotated[str | None, flag("--system", "-s", help="System prompt.")] = None


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
        ],
    )(chat)


def chat(
    opening: Opening,
    engine: EngineOptions,
    sampling: SamplingOptions,
    common: CommonOptions,
    *,
    model: ModelArgument = DEFAULT_MODEL,
) -> None:
    """Chat with a model.

    Enter sends, Alt-Enter starts a new line, Ctrl-C stops an answer, Ctrl-D ends the chat, /help lists
    commands. With no terminal on stdin, one prompt is read from it (or from --prompt) and answered on stdout.
    """
    params = sampling.params(max_tokens=MAX_TOKENS)
    interactive = opening.prompt is None and sys.stdin.isatty() and sys.stdout.isatty()
    question = "" if interactive else _one_question(opening.prompt)
    with open_model(model, engine, quiet=common.quiet) as llm:
        from ruvllm.chat.session import ChatSession

        session = ChatSession(llm, opening.system, params=params)
        if interactive:
            from ruvllm.cli.chat_terminal import ChatTerminal

            ChatTerminal(llm, session, model).run()
            return
        answer = stream_answer(session.stream(question))
    terminal.print_text("\n")
    if common.verbose:
        terminal.note(answer.summary())
    if answer.interrupted:
        raise typer.Exit(130)


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
