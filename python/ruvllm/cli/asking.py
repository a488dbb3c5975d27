"""Which model is asked, and what: the arguments that `run`, `chat` and `complete` share.

`MODEL PROMPT` is how Ollama has it, `-m MODEL -p PROMPT` how llama.cpp has it. Where stdin is no terminal,
what it holds is part of the prompt; one that is closed holds nothing.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ruvllm.cli.command import flag, stands_on_the_line
from ruvllm.cli.options import DEFAULT_MODEL, MODEL_FORMS

__all__ = ["Asked"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Arguments and flags of a command that asks a model."""

    model: Annotated[
        str | None,
        typer.Argument(
            help=f"{MODEL_FORMS}; with --url, its name at the server.",
            metavar="MODEL",
            show_default=f"{DEFAULT_MODEL}; with --url, the server's first",
        ),
    ] = None
    words: Annotated[
        list[str] | None,
        typer.Argument(help="What is asked; stdin is read, too, where it is no terminal.", metavar="PROMPT"),
    ] = None
    model_flag: Annotated[
        str | None,
        flag("--model", "-m", help="The model, for which then no argument stands.", metavar="MODEL"),
    ] = None
    prompt: Annotated[
        str | None, flag("--prompt", "-p", help="The prompt, for which then no argument stands.")
    ] = None

    def model_name(self, context: typer.Context) -> str | None:
        """The model that is named, if one is; that of RUVLLM_MODEL only where none is given here."""
        if stands_on_the_line(context, "model_flag"):
            return self.model_flag
        return self.model or self.model_flag

    def text(self, context: typer.Context, *, between: str) -> str | None:
        """The prompt: what stdin holds, then what stands here; `None` where a person is to be asked for it.

        Args:
            context: Of the command.
            between: What stands between the two where there are both.
        """
        words = list(self.words or ())
        if not stands_on_the_line(context, "model_flag"):
            self._refuse_no_model()
        elif self.model:
            words.insert(0, self.model)
        if words and stands_on_the_line(context, "prompt"):
            raise typer.BadParameter("the prompt is given twice: leave --prompt out", param_hint="PROMPT")
        given = " ".join(words) if words else self.prompt
        if given == "-":
            raise typer.BadParameter(
                "stdin is read where it is no terminal: leave '-' out", param_hint="PROMPT"
            )
        piped = _piped()
        if piped is None:
            return given
        return between.join(part for part in (piped, given) if part)

    def _refuse_no_model(self) -> None:
        """A question where the model stands is the commonest slip: nothing else would say so."""
        if self.model and " " in self.model.strip() and not Path(self.model).exists():
            raise typer.BadParameter(
                f"{self.model!r} stands where the model does: MODEL PROMPT, or --prompt PROMPT alone "
                f"for {DEFAULT_MODEL}",
                param_hint="MODEL",
            )


def _piped() -> str | None:
    """What stdin holds, without the line break at its end; `None` where it is a terminal."""
    if sys.stdin is None:  # closed: nobody can be asked there
        return ""
    if sys.stdin.isatty():
        return None
    try:
        text = sys.stdin.read()
        text.encode()  # some systems read what is no text as halves of characters
    except UnicodeError as error:
        raise typer.BadParameter(f"it is no text: {error}", param_hint="stdin") from error
    return text.rstrip("\r\n")
