"""What users of other programs type: their commands are answered with ours, llama.cpp's flags are taken.

A flag that asks for the same becomes ours; any other ends the command with what to do instead. A value
that asks for what is so in any case is taken, too. Where a command has a flag of that name, its own is meant.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from types import MappingProxyType
from typing import Any, NoReturn

import typer

__all__ = ["COMMANDS", "OTHER_FLAGS", "SAME_FLAGS", "refuse_command", "translated"]

_NO_REGISTRY = "models are fetched from the Hugging Face Hub, which is where to publish one"

COMMANDS = MappingProxyType(
    {
        "ls": "it is `ruvllm list` here",
        "models": "it is `ruvllm list` here",
        "remove": "it is `ruvllm rm` here",
        "delete": "it is `ruvllm rm` here",
        "get": "it is `ruvllm pull` here",
        "download": "it is `ruvllm pull` here",
        "generate": "it is `ruvllm complete` here, or `ruvllm run` for an answer",
        "ask": "it is `ruvllm run MODEL PROMPT` here",
        "server": "it is `ruvllm serve` here",
        "start": "it is `ruvllm serve` here",
        "perplexity": "it is `ruvllm eval` here",
        "version": "it is `ruvllm --version` here",
        "unload": "it is `ruvllm stop` here",
        "push": _NO_REGISTRY,
        "create": "a file or folder is opened by its path: `ruvllm run ./model.gguf`",
        "cp": "a name of your own is given to `ruvllm serve NAME=MODEL`",
    }
)
"""Commands of other programs: what does the same here, or why nothing does."""

SAME_FLAGS = MappingProxyType(
    {
        "--temp": "--temperature",
        "--repeat-penalty": "--repetition-penalty",
        "--typical": "--typical-p",
        "--top-nsigma": "--top-n-sigma",
        "--dynatemp-exp": "--dynatemp-exponent",
        "--mirostat-ent": "--mirostat-tau",
        "--mirostat-lr": "--mirostat-eta",
        "--predict": "--max-tokens",
        "--n-predict": "--max-tokens",
        "--ctx-size": "--max-context",
        "--lora": "--adapter",
        "-md": "--draft",
        "--model-draft": "--draft",
        "--chat-template-file": "--chat-template",
        "-sys": "--system",
        "--system-prompt": "--system",
    }
)
"""Flags of llama.cpp by ours, which ask for the same.

Not to the last: a repetition penalty is for the whole prompt and answer here, for the last 64 tokens there;
and special values of theirs, `-n -1`, `-s -1` and `-c 0`, are refused: the flag is left out here.
"""

ELSEWHERE = MappingProxyType(
    {("serve", "--lora"): "requests ask for an adapter by its name: --adapter NAME=FILE"}
)
"""Flags that another command has as above and this one has not, and what to do here."""

MODEL_FLAGS = ("-m", "--model")
MODEL_ARGUMENTS = frozenset({"model", "models"})
"""Arguments, by their names in the code, that a model may be given as."""

_CPU = "this engine computes on the CPU: leave it out"
_KV = "it is --kv-format here: int16, f32, int8, k8v4, q4 or q3"
_HUB = "the model is org/repo:Q4_K_M here, as MODEL"

OTHER_FLAGS: MappingProxyType[str, tuple[str | None, str]] = MappingProxyType(
    {
        "-ngl": ("0", _CPU),
        "--n-gpu-layers": ("0", _CPU),
        "--gpu-layers": ("0", _CPU),
        "-fa": (None, "attention is always computed block by block: leave it out"),
        "--flash-attn": (None, "attention is always computed block by block: leave it out"),
        "-ctk": (None, _KV),
        "-ctv": (None, _KV),
        "--cache-type-k": (None, _KV),
        "--cache-type-v": (None, _KV),
        "-b": (None, "the engine sizes its batches itself: leave it out"),
        "-ub": (None, "the engine sizes its batches itself: leave it out"),
        "--batch-size": (None, "the engine sizes its batches itself: leave it out"),
        "--ubatch-size": (None, "the engine sizes its batches itself: leave it out"),
        "-tb": (None, "--threads is for prompts, too"),
        "--threads-batch": (None, "--threads is for prompts, too"),
        "-np": (None, "requests share the memory that there is: --max-waiting bounds those that wait"),
        "--parallel": (None, "requests share the memory that there is: --max-waiting bounds those that wait"),
        "--mlock": (None, "memory is not locked: leave it out"),
        "--no-mmap": (None, "files are mapped, and weights packed from there: leave it out"),
        "-hf": (None, _HUB),
        "-hfr": (None, _HUB),
        "--hf-repo": (None, _HUB),
        "-f": (None, "a prompt in a file comes on stdin: < FILE"),
        "--file": (None, "a prompt in a file comes on stdin: < FILE"),
        "-cnv": (None, "`ruvllm run` and `ruvllm chat` are a conversation: leave it out"),
        "--conversation": (None, "`ruvllm run` and `ruvllm chat` are a conversation: leave it out"),
        "-no-cnv": (None, "`ruvllm complete` goes on with a text"),
        "--no-conversation": (None, "`ruvllm complete` goes on with a text"),
        "--lora-scaled": (None, "an adapter has its scale behind it: --adapter FOLDER:SCALE"),
        "--alias": (None, "a name for a model stands before it: ruvllm serve NAME=MODEL"),
        "--grammar": (None, "answers are held to a grammar in Python and by the server"),
        "--json-schema": (None, "answers are held to a schema in Python and by the server"),
    }
)
"""Other flags of llama.cpp: the value that is so in any case, if any, and what to do instead."""


def translated(context: Any, arguments: Sequence[str]) -> Iterator[str]:
    """A command's arguments, with theirs as ours; what stands behind a flag with a value is that value."""
    parameters = context.command.params
    own = {name for parameter in parameters for name in parameter.opts}
    # Arguments and switches have no value behind their names.
    with_value = {name for one in parameters if not getattr(one, "is_flag", True) for name in one.opts}
    rest = iter(arguments)
    for argument in rest:
        name, equals, value = argument.partition("=")
        if argument == "--":
            yield argument
            yield from rest
        elif name in MODEL_FLAGS and name not in own and own & MODEL_ARGUMENTS:
            yield value if equals else next(rest, argument)
        elif name in own or name not in SAME_FLAGS.keys() | OTHER_FLAGS.keys():
            yield argument
            if argument in with_value:
                yield from islice(rest, 1)
        elif name in OTHER_FLAGS:
            neutral, advice = OTHER_FLAGS[name]
            if neutral is None or (value if equals else next(rest, None)) != neutral:
                _refuse(context, f"{name} is llama.cpp's: {advice}")
        else:
            yield f"{_ours(context, name, own)}{equals}{value}"
            if not equals:
                yield from islice(rest, 1)


def _ours(context: Any, name: str, own: set[str]) -> str:
    if advice := ELSEWHERE.get((context.command.name, name)):
        _refuse(context, f"{name} is llama.cpp's: {advice}")
    if (ours := SAME_FLAGS[name]) not in own:
        _refuse(context, f"{name} is {ours} here, which `{context.command_path}` does not have")
    return ours


def refuse_command(context: Any, name: str) -> None:
    """End where a command of theirs is called, with what does the same here."""
    if name in COMMANDS:
        _refuse(context, f"No such command {name!r}: {COMMANDS[name]}")


def _refuse(context: Any, message: str) -> NoReturn:
    context.fail(message)
    raise typer.Exit(2)
