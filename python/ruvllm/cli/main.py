"""The `ruvllm` command, as the console script calls it."""

import os
import sys

__all__ = ["main"]

# As typer's scripts for the shells set it.
COMPLETION = "_RUVLLM_COMPLETE"


def main() -> None:
    """Run the command line."""
    arguments = sys.argv[1:]
    if instruction := os.environ.get(COMPLETION):
        from ruvllm.cli.completing import complete_model, words_on_the_line

        if complete_model(instruction, os.environ):
            return
        arguments = words_on_the_line(instruction, os.environ)[0][1:]
    from ruvllm.cli.app import app_for

    try:
        app_for(arguments)(prog_name="ruvllm")
    except KeyboardInterrupt:
        sys.exit(130)
