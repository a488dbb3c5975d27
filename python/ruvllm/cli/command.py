"""How a command is declared: flags as dataclasses, one place for errors, exit codes and logging.

`@command(app, "pull", examples=[...])` takes a function whose parameters are arguments, flags or dataclasses
of flags, and gives typer the flat list. A dataclass may hold another one, and the library's own settings are
flags as they stand: `_settings.py`. Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
"""

import inspect
import logging
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast, get_type_hints

import typer

from ruvllm._settings import Setting, settings_of
from ruvllm.cli import terminal
from ruvllm.cli.config_file import CONFIG_FLAG
from ruvllm.cli.reading import RuvllmCommand, told_to_programs
from ruvllm.errors import ConfigError, RuvLLMError
from ruvllm.observability.logs import log_to_stderr

__all__ = ["CommonOptions", "command", "flag", "flags_on_the_line", "is_given", "stands_on_the_line"]

Function = Callable[..., None]
Group = TypeVar("Group")
LOG_LEVELS = ("debug", "info", "warning", "error", "off")


def flag(*names: str, help: str, variable: str | None = None, **settings: Any) -> Any:
    """Return a typer option whose variable is `RUVLLM_` and its first name, unless told otherwise."""
    by_rule = "RUVLLM_" + names[0].lstrip("-").upper().replace("-", "_")
    # The rule stands below the examples, once; what does not follow it is said.
    return typer.Option(
        *names, help=help, envvar=variable or by_rule, show_envvar=variable is not None, **settings
    )


def is_given(context: typer.Context, name: str) -> bool:
    """Whether a flag was given, on the line, by its variable or in a file, and not left to its default."""
    source = context.get_parameter_source(name)
    return source is not None and source.name in ("COMMANDLINE", "ENVIRONMENT", "DEFAULT_MAP")


def stands_on_the_line(context: typer.Context, name: str) -> bool:
    """Whether a flag stands on the command line itself."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def flags_on_the_line(context: typer.Context, group: type) -> list[str]:
    """The flags of a group that stand on the command line itself, as users write them."""
    names = {member.name for member in _flags_of(group)}
    return [
        parameter.opts[0]
        for parameter in context.command.params
        if parameter.name in names and stands_on_the_line(context, parameter.name)
    ]


def _check_log_level(value: str) -> str:
    if value.lower() not in LOG_LEVELS:
        raise typer.BadParameter(f"{value!r} is not one of {', '.join(LOG_LEVELS)}")
    return value.lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class CommonOptions:
    """Flags that every command has."""

    quiet: Annotated[bool, flag("--quiet", "-q", help="No progress bars, no notes on stderr.")] = False
    verbose: Annotated[bool, flag("--verbose", "-v", help="Tell more; tracebacks for errors.")] = False
    log_level: Annotated[
        str,
        flag(
            "--log-level",
            help=f"What is logged to stderr: {', '.join(LOG_LEVELS)}.",
            callback=_check_log_level,
        ),
    ] = "warning"
    config: Annotated[
        Path | None,
        flag(CONFIG_FLAG, help="File of settings, by the names of flags: ruvllm.toml.", metavar="FILE"),
    ] = None


def command(app: typer.Typer, name: str, *, examples: Sequence[str]) -> Callable[[Function], Function]:
    """Register a function as the command `name`; its docstring is the help, `examples` stand below it."""

    def register(function: Function) -> Function:
        parameters, groups = _flatten(function)
        common = _flags_of(CommonOptions)

        def run(**values: Any) -> None:
            as_json = values.get("json") is True
            options = _gathered(CommonOptions, values)

            def work() -> None:
                arguments: dict[str, Any] = {name: _gathered(group, values) for name, group in groups.items()}
                if "common" in inspect.signature(function).parameters:
                    arguments["common"] = options
                function(**values, **arguments)

            _run(work, options, as_json=as_json)

        run.__name__ = function.__name__
        every = sorted(
            [*parameters, *common], key=lambda parameter: parameter.default is not inspect.Parameter.empty
        )
        run.__signature__ = inspect.Signature(every)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in every}
        app.command(name, cls=RuvllmCommand, help=_help(function), epilog=_epilog(examples))(run)
        return function

    return register


def _run(function: Callable[[], None], options: CommonOptions, *, as_json: bool) -> None:
    try:
        with told_to_programs(asked=as_json):
            _set_up_logging(options)
            function()
    except KeyboardInterrupt:
        terminal.note("interrupted")
        raise typer.Exit(130) from None
    except RuvLLMError as error:
        _show(error, str(error), verbose=options.verbose)
        raise typer.Exit(2 if isinstance(error, ConfigError) else 1) from None
    except (typer.Exit, typer.Abort, typer.BadParameter, BrokenPipeError):
        raise
    except Exception as error:  # noqa: BLE001  shown, in a line or with -v in full
        what = f"unexpected {type(error).__name__}: {error}"
        _show(error, f"{what} (run it again with --verbose for where)", verbose=options.verbose)
        raise typer.Exit(1) from None


def _show(error: Exception, message: str, *, verbose: bool) -> None:
    if verbose:
        terminal.traceback(error)
    terminal.error(message)


def _set_up_logging(options: CommonOptions) -> None:
    level_name = "info" if options.verbose and options.log_level == "warning" else options.log_level
    if level_name == "off":
        logging.getLogger("ruvllm").setLevel(logging.CRITICAL + 1)
    else:
        log_to_stderr(level_name)


def _flatten(function: Function) -> tuple[list[inspect.Parameter], dict[str, type]]:
    """Return typer's parameters, and the dataclass of each parameter that is a group of flags."""
    flat: list[inspect.Parameter] = []
    groups: dict[str, type] = {}
    # Not by `get_type_hints`: on Python 3.10 it hides what is annotated where the default is None.
    for parameter in inspect.signature(function, eval_str=True).parameters.values():
        hint = parameter.annotation
        if hint is CommonOptions:
            continue
        if is_dataclass(hint) and isinstance(hint, type):
            groups[parameter.name] = hint
            flat += _flags_of(hint)
        else:
            flat.append(_keyword(parameter.name, parameter.default, hint))
    return flat, groups


def _flags_of(group: type) -> list[inspect.Parameter]:
    """The flags of a group: its own, those of a group in it, and settings of the library that have one."""
    hints = get_type_hints(group, include_extras=True)
    settings = {one.name: one for one in settings_of(group)}
    flat = []
    for field in fields(group):
        hint = hints[field.name]
        if is_dataclass(hint) and isinstance(hint, type):
            flat += _flags_of(hint)
        elif settings:
            if field.name in settings and settings[field.name].has_flag:
                panel = group.__name__.removesuffix("Settings")
                flat.append(_flag_of(settings[field.name], panel))
        else:
            assert field.default is not MISSING, f"{group.__name__}.{field.name} needs a default"  # noqa: S101
            flat.append(_keyword(field.name, field.default, hint))
    return flat


def _flag_of(setting: Setting, panel: str) -> inspect.Parameter:
    """The flag of one of the library's settings; a value is refused by it as a program's would be."""

    def checked(value: Any) -> Any:
        try:
            setting.check(value)
        except ConfigError as error:
            raise typer.BadParameter(error.message.removeprefix(f"{error.prefix}: ")) from None
        return value

    # What is not a number or a switch is written as a text.
    kind: Any = next((one for one in setting.kinds if one in (bool, int, float)), str)
    least = setting.bounds if isinstance(setting.bounds, int) else None
    choices = "|".join(setting.choices) or None
    option = flag(
        *setting.flags,
        help=setting.help,
        min=least,
        metavar=choices,
        callback=checked,
        rich_help_panel=panel,
        autocompletion=lambda: list(setting.choices),
    )
    annotation: Any = Annotated[kind if setting.default is not None else kind | None, option]
    return _keyword(setting.name, setting.default, annotation)


def _gathered(group: type[Group], values: dict[str, Any]) -> Group:
    """The group with its flags, which are taken out of `values`."""
    hints = get_type_hints(group)
    members: dict[str, Any] = {}
    for field in fields(cast("Any", group)):
        hint = hints[field.name]
        if is_dataclass(hint) and isinstance(hint, type):
            members[field.name] = _gathered(hint, values)
        elif field.name in values:
            members[field.name] = values.pop(field.name)
    return group(**members)


def _keyword(name: str, default: Any, annotation: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _help(function: Function) -> str:
    """A docstring, whose lines typer would break where the source does."""
    paragraphs = (inspect.getdoc(function) or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _epilog(examples: Sequence[str]) -> str:
    # typer joins single line breaks; square brackets would be markup.
    lines = [
        "[bold]Examples[/bold]",
        *(f"  {example}".replace("[", r"\[") for example in examples),
        "Every flag can be set by a variable: RUVLLM_QUIET=1 is --quiet; or in a file: ruvllm.toml.",
    ]
    return "\n\n".join(lines)
