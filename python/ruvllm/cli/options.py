"""Flags that several commands share.

Those of the engine are its settings, with their defaults and their help; those of sampling a test compares.
"""

from collections.abc import Collection
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ruvllm.cli.command import flag, is_given
from ruvllm.cli.samplers import SamplerOptions
from ruvllm.engine_settings import EngineSettings
from ruvllm.errors import ConfigError
from ruvllm.samplers import llama_names_of

if TYPE_CHECKING:
    from ruvllm.adapters import AdapterChoice
    from ruvllm.client import ServerClient
    from ruvllm.llm import LLM
    from ruvllm.params import GenerateParams

__all__ = [
    "DEFAULT_MODEL",
    "MODEL_FORMS",
    "AdapterOptions",
    "ApiKeyFlag",
    "CacheOptions",
    "ChosenSampling",
    "EngineOptions",
    "LocalOptions",
    "ModelArgument",
    "ModelFlag",
    "RunningServer",
    "SamplingOptions",
]

# What a model's makers may recommend, by the names of fields.
_OF_MAKERS = ("temperature", "top_p", "top_k", "min_p", "typical_p", "repetition_penalty")
_WITHOUT_FLAGS = ("presence_penalty", "frequency_penalty")
_SAMPLERS_OF_MAKERS = ("xtc_probability", "xtc_threshold", "mirostat", "mirostat_tau", "mirostat_eta")

DEFAULT_MODEL = "smollm2-135m"
MODEL_FORMS = "smollm2-135m, org/repo, org/repo:Q4_K_M, hf://org/repo/file.gguf or a path"

ModelArgument = Annotated[
    str,
    typer.Argument(
        help=f"{MODEL_FORMS}.",
        envvar="RUVLLM_MODEL",
        metavar="MODEL",
    ),
]

ModelFlag = Annotated[
    str, flag("--model", "-m", help="Its name: smollm2-135m, org/repo:Q4_K_M, a path, ...", metavar="MODEL")
]

ApiKeyFlag = Annotated[
    str | None,
    flag("--api-key", help="The server's key; its variable keeps it off the list of processes."),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningServer:
    """A server that runs."""

    url: Annotated[str, flag("--url", help="Where the server is.")] = "http://127.0.0.1:8000"
    api_key: ApiKeyFlag = None

    def client(self) -> "ServerClient":
        """A connection to it."""
        from ruvllm.client import ServerClient

        return ServerClient(self.url, api_key=self.api_key)


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheOptions:
    """Where fetched models lie."""

    cache_dir: Annotated[
        Path | None,
        flag(
            "--cache-dir",
            help="Folder for fetched models; the Hub's models stay in HF_HOME.",
            file_okay=False,
        ),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions(CacheOptions):
    """How the engine runs, and where it finds its model."""

    settings: EngineSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterOptions:
    """Which adapters change the model."""

    adapter: Annotated[
        list[str] | None,
        flag(
            "--adapter",
            help="A low-rank adapter on the model: a folder of PEFT's. Given again, they are added up, each "
            "with its SCALE, or 1.",
            metavar="FOLDER[:SCALE]",
        ),
    ] = None

    def load(self, llm: "LLM") -> "AdapterChoice":
        """Load them; gives what a request says to have them, `None` without any."""
        chosen = {}
        for number, given in enumerate(self.adapter or (), start=1):
            folder, scale = _folder_and_scale(given)
            chosen[llm.adapters.load(str(number), folder).name] = scale
        return chosen or None


def _folder_and_scale(given: str) -> tuple[Path, float]:
    folder, separator, scale = given.rpartition(":")
    if separator and not Path(given).exists():
        try:
            return Path(folder), float(scale)
        except ValueError:
            pass
    return Path(given), 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingOptions(SamplerOptions):
    """How tokens are chosen."""

    temperature: Annotated[
        float,
        flag(
            "--temperature",
            "-T",
            help="0 takes the likeliest token.",
            min=0.0,
            show_default="0.7; in run and chat, what is recommended of the model",
            rich_help_panel="Sampling",
        ),
    ] = 0.7
    top_p: Annotated[
        float | None,
        flag(
            "--top-p",
            help="Only tokens that make up this share.",
            min=0.0,
            max=1.0,
            show_default="0.9; 1 with --mirostat 2",
            rich_help_panel="Sampling",
        ),
    ] = None
    top_k: Annotated[
        int, flag("--top-k", help="Only this many tokens; 0 is off.", min=0, rich_help_panel="Sampling")
    ] = 0
    min_p: Annotated[
        float,
        flag(
            "--min-p",
            help="Only tokens this likely beside the best.",
            min=0,
            max=1,
            rich_help_panel="Sampling",
        ),
    ] = 0.0
    repetition_penalty: Annotated[
        float,
        flag(
            "--repetition-penalty",
            help="1 is off.",
            min=0.0,
            show_default="1.1; in run and chat, what is recommended of the model",
            rich_help_panel="Sampling",
        ),
    ] = 1.1
    max_tokens: Annotated[
        int | None,
        flag(
            "--max-tokens",
            "-n",
            help="Longest answer; 256, in a chat 1024.",
            min=1,
            rich_help_panel="Sampling",
        ),
    ] = None
    seed: Annotated[
        int | None,
        flag("--seed", "-s", help="The same seed gives the same text.", min=0, rich_help_panel="Sampling"),
    ] = None
    stop: Annotated[
        list[str] | None,
        flag("--stop", help="End at this text; may be given again.", rich_help_panel="Sampling"),
    ] = None

    @property
    def share(self) -> float:
        """`top_p`; unless given it is off with mirostat, to which it would leave little to do."""
        if self.top_p is not None:
            return self.top_p
        return 1.0 if self.mirostat else 0.9

    def as_makers_recommend(self, params: "GenerateParams", given: Collection[str]) -> "SamplingOptions":
        """The same with what a model's makers recommend in the place of all that was not given."""
        for name in _WITHOUT_FLAGS:
            if value := getattr(params, name):
                raise ConfigError(
                    f"the model recommends {name} = {value}, for which there is no flag: leave --params out"
                )
        told = {name: getattr(params, name) for name in _OF_MAKERS}
        told |= dict.fromkeys(_SAMPLERS_OF_MAKERS)
        samplers = {"xtc": params.xtc, "mirostat": params.mirostat}
        told |= llama_names_of({name: one for name, one in samplers.items() if one is not None})
        return replace(self, **{name: value for name, value in told.items() if name not in given})

    def params(self, *, max_tokens: int) -> "GenerateParams":
        """Return the library's parameters; `max_tokens` holds where the user gave none."""
        from ruvllm.params import GenerateParams

        return GenerateParams(
            temperature=self.temperature,
            top_p=self.share,
            top_k=self.top_k,
            min_p=self.min_p,
            **self.sampler_params(),
            repetition_penalty=self.repetition_penalty,
            max_tokens=self.max_tokens or max_tokens,
            seed=self.seed,
            stop_sequences=tuple(self.stop or ()),
        )


def _check_params(value: str | None) -> str | None:
    if value not in (None, "model"):
        raise typer.BadParameter(f"{value!r} is not 'model'")
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalOptions:
    """What is about a model that is loaded here."""

    engine: EngineOptions
    adapters: AdapterOptions
    params: Annotated[
        str | None,
        flag(
            "--params",
            help="'model' takes what the model's makers recommend, where no flag says otherwise.",
            metavar="model",
            callback=_check_params,
            rich_help_panel="Sampling",
        ),
    ] = None

    def sampling(self, llm: "LLM", sampling: SamplingOptions, given: Collection[str]) -> SamplingOptions:
        """As the model's makers recommend it, if that is asked for; what is `given` stands above it."""
        return (
            sampling if self.params is None else sampling.as_makers_recommend(llm.recommended_params(), given)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenSampling:
    """How tokens are chosen, and which of it somebody said: the rest a model or a server may know better."""

    options: SamplingOptions
    names: frozenset[str] = frozenset()

    @classmethod
    def of(cls, context: typer.Context, options: SamplingOptions) -> "ChosenSampling":
        """What a command was given."""
        names = (field.name for field in fields(SamplingOptions))
        return cls(options=options, names=frozenset(name for name in names if is_given(context, name)))
