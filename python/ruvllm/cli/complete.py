"""`ruvllm complete`: goes on with a text."""

from typing import Annotated

import typer

from ruvllm.cli.asking import Asked
from ruvllm.cli.command import CommonOptions, command, flag
from ruvllm.cli.opening import open_model
from ruvllm.cli.options import DEFAULT_MODEL, ChosenSampling, LocalOptions, SamplingOptions
from ruvllm.cli.showing import show_text
from ruvllm.cli.streaming import end_answer, print_completion

__all__ = ["register"]

MAX_TOKENS = 256


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(
        app,
        "complete",
        examples=[
            'ruvllm complete smollm2-135m "Once upon a time" -n 64',
            "ruvllm complete smollm2-135m 'Two and two is' --json --seed 7 | jq .usage",
            "ruvllm complete org/repo:Q4_K_M --temperature 0 < beginning.txt",
            "ruvllm complete smollm2-135m 'Once' --adapter adapters/tone --adapter adapters/law:0.5",
            "ruvllm complete Qwen/Qwen2.5-0.5B-Instruct 'Once' --params model --seed 7",
        ],
    )(complete)


def complete(
    context: typer.Context,
    asked: Asked,
    local: LocalOptions,
    sampling: SamplingOptions,
    common: CommonOptions,
    *,
    json: Annotated[bool, flag("--json", help="One object when it is done, instead of a stream.")] = False,
) -> None:
    """Go on with a text, on stdout as it comes, without the model's chat template.

    `ruvllm run` asks and gets an answer. Of stdin and PROMPT, where both are there, PROMPT stands last.
    """
    text = asked.text(context, between="")
    if not text:
        raise typer.BadParameter("the prompt is empty", param_hint="PROMPT")
    sampling.refuse_what_has_no_effect()
    sampling.params(max_tokens=MAX_TOKENS)  # what is wrong with them is said before anything is loaded
    with open_model(asked.model_name(context) or DEFAULT_MODEL, local.engine, quiet=common.quiet) as llm:
        given = ChosenSampling.of(context, sampling).names
        params = local.sampling(llm, sampling, given).params(max_tokens=MAX_TOKENS)
        adapter = local.adapters.load(llm)
        if json:
            print_completion(llm.generate(text, params, adapter=adapter))
            return
        answer = show_text(lambda: llm.stream(text, params, adapter=adapter))
    end_answer(answer, verbose=common.verbose)
