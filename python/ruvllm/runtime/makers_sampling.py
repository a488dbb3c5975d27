"""The sampling that a model's makers recommend: `generation_config.json` in a folder, or keys of a GGUF file.

What they do not speak of is off, not this package's default: a recommendation of a temperature is none of a
penalty. What would choose tokens in a way that there is not here is refused, and so is a value outside its
range: whoever asks for the model's own choices gets these, or is told why not.
"""

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

import ruvllm.whole_file as whole_file
from ruvllm.errors import ConfigError, InvalidModelError, IoError, ModelError, RuvLLMError
from ruvllm.params import GenerateParams
from ruvllm.samplers import under_llama_names

if TYPE_CHECKING:
    import ruvllm._native as _native

__all__ = ["MakersSampling"]

Params = TypeVar("Params")

MODEL = "model"
FILE = "generation_config.json"
MAX_FILE_BYTES = 1024 * 1024
# Every choice that a recommendation may be of, off.
_OFF: Mapping[str, Any] = {"temperature": 1.0, "top_p": 1.0, "repetition_penalty": 1.0}
# Names in generation_config.json; those that ask for another way to choose tokens, and what asks for none.
_PENALTIES = ("repetition_penalty", "presence_penalty", "frequency_penalty")
_NAMES = ("temperature", "top_p", "top_k", "min_p", "typical_p", *_PENALTIES)
_NOT_HERE: Mapping[str, tuple[object, ...]] = {
    "num_beams": (1,),
    "num_beam_groups": (1,),
    "diversity_penalty": (0,),
    "penalty_alpha": (0,),
    "guidance_scale": (1,),
    "no_repeat_ngram_size": (0,),
    "encoder_repetition_penalty": (1,),
    "suppress_tokens": ([],),
    "begin_suppress_tokens": ([],),
    "bad_words_ids": ([],),
    "sequence_bias": ({}, []),
    "forced_eos_token_id": (),
    "min_length": (0,),
    "min_new_tokens": (0,),
}
# The same of what only filters draws: of the likeliest token it leaves what it is.
_NOT_HERE_OF_DRAWS: Mapping[str, tuple[object, ...]] = {
    "epsilon_cutoff": (0,),
    "eta_cutoff": (0,),
    "top_h": (),
}
_MAGIC = b"GGUF"
_KEY = "general.sampling."
_GGUF_NAMES = {"temp": "temperature", "top_p": "top_p", "top_k": "top_k", "min_p": "min_p"}
# How many last tokens `penalty_repeat` is of where a file does not say: llama.cpp's default.
_LAST_TOKENS = 64
_GGUF_SAMPLERS = ("xtc_probability", "xtc_threshold", "mirostat", "mirostat_tau", "mirostat_eta")
# Each of these says how to choose; what only sets how one of them works recommends nothing by itself.
_GGUF_CHOICES = {*_GGUF_NAMES, "xtc_probability", "mirostat", "penalty_repeat", "sequence"}
_GGUF_KNOWN = {*_GGUF_CHOICES, *_GGUF_SAMPLERS, "penalty_last_n"}


class MakersSampling:
    """What the files of an open model recommend: read once, when it is first asked for, and kept.

    Whether the model is a GGUF file is seen when it is opened: another may lie there later.
    """

    def __init__(self, path: Path, name: str) -> None:
        """Of the model that was loaded from there, by its name in messages."""
        self._path, self._name = path, name
        self._is_gguf = _begins_as_gguf(path)
        self._beside = (path if path.is_dir() else path.parent) / FILE
        self._read: GenerateParams | RuvLLMError | None = None

    def recommended(self) -> GenerateParams:
        """The parameters; `ConfigError` where the files recommend nothing."""
        if self._read is None:
            try:
                self._read = self._made()
            except RuvLLMError as error:
                # A copy has no traceback, which would keep its frames alive as long as the model.
                self._read = copy.copy(error)
                raise
        if isinstance(self._read, RuvLLMError):
            raise copy.copy(self._read)
        return self._read

    def chosen(self, params: Params) -> Params:
        """The same, with what the model recommends in the place of "model"."""
        if isinstance(params, str) and params == MODEL:
            return cast("Params", self.recommended())
        return params

    def _made(self) -> GenerateParams:
        path = self._path
        said = _said_by_gguf(_gguf(path), path) if self._is_gguf else _said_by_folder(self._beside)
        if said is None:
            raise ConfigError(
                f"the model {self._name} recommends no sampling: {FILE} and the keys {_KEY}* of GGUF files "
                "could, and it has none of them; say how tokens are to be chosen, or leave params out"
            )
        try:
            return GenerateParams(**{**_OFF, **said})
        except ConfigError as error:
            where = path.name if self._is_gguf else FILE
            raise InvalidModelError(f"{where} recommends what cannot be: {_cause(error)}") from error


# -- a folder


def _said_by_folder(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    config = {name: value for name, value in _object(path).items() if value is not None}
    samples = config.get("do_sample")
    if samples is not None and not isinstance(samples, bool):
        raise InvalidModelError(f"{FILE} has the do_sample {samples!r:.80}; it must be true or false")
    not_here = _NOT_HERE if samples is False else {**_NOT_HERE, **_NOT_HERE_OF_DRAWS}
    for name, neutral in not_here.items():
        if name in config and config[name] not in neutral:
            raise _refusal(f"{FILE} recommends {name} = {config[name]!r:.80}")
    said = {name: config[name] for name in _NAMES if name in config}
    if said.get("top_k") == -1:
        said["top_k"] = 0
    if samples is False:
        # As transformers has it, the other choices then mean nothing.
        return {"temperature": 0.0, **{name: said[name] for name in _PENALTIES if name in said}}
    return said if said or samples else None


def _object(path: Path) -> dict[str, Any]:
    def refuse(name: str) -> float:
        raise ValueError(f"{name} is no number in JSON")

    try:
        with whole_file.open_regular(path) as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise IoError(f"{path}: {error.strerror or error}") from error
    if len(content) > MAX_FILE_BYTES:
        raise InvalidModelError(f"{path.name} has more than {MAX_FILE_BYTES} bytes")
    try:
        read = json.loads(content, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise InvalidModelError(f"{path.name} is not JSON: {error!s:.200}") from error
    if not isinstance(read, dict):
        raise InvalidModelError(f"{path.name} is a {type(read).__name__}; it must be an object")
    return read


# -- a GGUF file


def _begins_as_gguf(path: Path) -> bool:
    try:
        with whole_file.open_regular(path) as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


def _gguf(path: Path) -> "_native.GgufFile":
    import ruvllm._native as _native

    file = _native.GgufFile.open(path)
    if file is None:
        raise InvalidModelError(f"{path.name} was a GGUF file when it was loaded, and is none any more")
    return file


def _said_by_gguf(file: "_native.GgufFile", path: Path) -> dict[str, Any] | None:
    keys = {key.removeprefix(_KEY): key for key in file.keys() if key.startswith(_KEY)}  # noqa: SIM118
    values = {name: _value(file, key, path) for name, key in keys.items() if name in _GGUF_KNOWN}
    if not values.keys() & _GGUF_CHOICES:
        return None
    if "sequence" in values:
        # llama.cpp may be told which samplers there are and in which order; here the order is always one.
        raise _refusal(f"{path.name} recommends an order of samplers ({_KEY}sequence)")
    said = {ours: values[theirs] for theirs, ours in _GGUF_NAMES.items() if theirs in values}
    if said.get("top_k") == -1:
        said["top_k"] = 0
    if "penalty_repeat" in values:
        said["repetition_penalty"] = _penalty(values, path)
    try:
        said |= under_llama_names({name: values.get(name) for name in _GGUF_SAMPLERS})
    except (ConfigError, TypeError) as error:
        raise InvalidModelError(f"{path.name} recommends what cannot be: {_cause(error)}") from error
    return said


def _value(file: "_native.GgufFile", key: str, path: Path) -> str | float | int:
    value = file.value(key)
    if value is None or (isinstance(value, str) and not key.endswith(".sequence")):
        raise InvalidModelError(f"{path.name} has the {key} {value!r:.80}; it must be a number")
    # A float of 32 bits as it was meant: the engine makes the same 32 bits of it.
    return float(str(np.float32(value))) if isinstance(value, float) else value


def _penalty(values: Mapping[str, Any], path: Path) -> Any:
    """It is of the whole prompt and answer here, and in llama.cpp of so many last tokens."""
    last = values.get("penalty_last_n", _LAST_TOKENS)
    if last == 0:
        return 1.0
    if last != -1 and values["penalty_repeat"] != 1:
        raise _refusal(f"{path.name} recommends a penalty of the last {last} tokens alone")
    return values["penalty_repeat"]


def _refusal(what: str) -> ModelError:
    return ModelError(f"{what}, which is not here; say yourself how tokens are to be chosen")


def _cause(error: Exception) -> str:
    return f"{str(error).removeprefix(f'{ConfigError.prefix}: '):.200}"
