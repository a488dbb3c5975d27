"""`ruvllm run`: one prompt, one answer."""

import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from ruvllm.cli import terminal
from ruvllm.cli.command import CommonOptions, command, flag
from ruvllm.cli.opening import open_model, warn_without_template
from ruvllm.cli.options import DEFAULT_MODEL, AdapterOptions, EngineOptions, ModelFlag, SamplingOptions
from ruvllm.cli.streaming import stream_answer

if TYPE_CHECKING:
    from ruvllm.adapters import AdapterChoice
    from ruvllm.llm import LLM
    from ruvllm.params import GenerateParams

__all__ = ["register"]

MAX_TOKENS = 256


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(
        app,
        "run",
        examples=[
            'ruvllm run "Once upon a time" -n 64    continue a text',
            'ruvllm run --chat "What is the capital of France?" -T 0',
            "git diff | ruvllm run --chat --system 'Review this.' -",
            "ruvllm run --json --seed 7 'Two and two is' | jq .usage",
            "ruvllm run --adapter adapters/tone --adapter adapters/law:0.5 'Once upon a time'",
        ],
    )(run)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How a prompt is put, and its answer given."""

    model: ModelFlag = DEFAULT_MODEL
    chat: Annotated[
        bool, flag("--chat", variable="RUVLLM_RUN_CHAT", help="Ask as in a chat, with the model's template.")
    ] = False
    system: Annotated[str | None, flag("--system", "-s", help="System prompt; implies --chat.")] = None
    json: Annotated[bool, flag("--json", help="One object when it is done, instead of a stream.")] = False

    def prompt(self, text: str) -> str | list[dict[str, str]]:
        """Return the text as it is, or as a conversation of one question."""
        if not self.chat and not self.system:
            return text
        first = [{"role": "system", "content": self.system}] if self.system else []
        return [*first, {"role": "user", "content": text}]


def run(
    prompt: Annotated[str, typer.Argument(help="The text; - reads it from stdin.", metavar="PROMPT")],
    manner: Manner,
    engine: EngineOptions,
    adapters: AdapterOptions,
    sampling: SamplingOptions,
    common: CommonOptions,
) -> None:
    """Continue a text, or with --chat answer a question, on stdout as it comes."""
    text = sys.stdin.read() if prompt == "-" else prompt
    if not text:
        raise typer.BadParameter("the prompt is empty", param_hint="PROMPT")
    params = sampling.params(max_tokens=MAX_TOKENS)
    with open_model(manner.model, engine, quiet=common.quiet) as llm:
        if manner.chat or manner.system:
            warn_without_template(llm, quiet=common.quiet)
        adapter = adapters.load(llm)
        if manner.json:
            _print_completion(llm, manner.prompt(text), params, adapter)
            return
        answer = stream_answer(llm.stream(manner.prompt(text), params, adapter=adapter))
    terminal.print_text("\n")
    if common.verbose:
        terminal.note(answer.summary())
    if answer.interrupted:
        raise typer.Exit(130)


def _print_completion(
    llm: "LLM", prompt: str | list[dict[str, str]], params: "GenerateParams", adapter: "AdapterChoice"
) -> None:
    if isinstance(prompt, str):
        completion = llm.generate(prompt, params, adapter=adapter)
    else:
        completion = llm.chat(prompt, params, adapter=adapter)
    # The keys of this output are its users' interface; what it was asked stands on their command line.
    result = {key: value for key, value in asdict(completion).items() if key not in ("prompt", "stop_reason")}
    result["usage"]["total_tokens"] = completion.usage.total_tokens
    terminal.print_json(result)
