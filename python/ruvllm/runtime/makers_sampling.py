"""The sampling that a model's makers recommend: `generation_config.json` in a folder, or keys of a GGUF file.

What they do not speak of is off, not this package's default: a recommendation of a temperature is none of a
penalty. What would choose tokens in a way that there is not here is refused, and so is a value outside its
range: whoever asks for the model's own choices gets these, or is told why not.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

import ruvllm.whole_file as whole_file
from ruvllm.errors import ConfigError, InvalidModelError, IoError, ModelError
from ruvllm.params import GenerateParams
from ruvllm.runtime.open_model import OpenModel
from ruvllm.samplers import under_llama_names

if TYPE_CHECKING:
    import ruvllm._native as _native

__all__ = ["chosen_params", "recommended_params"]

Params = TypeVar("Params")

MODEL = "model"
FILE = "generation_config.json"
MAX_FILE_BYTES = 1024 * 1024
# Every choice that a recommendation may be of, off.
_OFF: Mapping[str, Any] = {"temperature": 1.0, "top_p": 1.0, "repetition_penalty": 1.0}
# Names in generation_config.json; those that ask for another way to choose tokens, and what asks for none.
_NAMES = ("temperature", "top_p", "top_k", "min_p", "typical_p", "repetition_penalty")
_NOT_HERE: Mapping[str, tuple[object, ...]] = {
    "num_beams": (1,),
    "penalty_alpha": (0,),
    "no_repeat_ngram_size": (0,),
    "encoder_repetition_penalty": (1,),
    "epsilon_cutoff": (0,),
    "eta_cutoff": (0,),
}
_KEY = "general.sampling."
_GGUF_NAMES = {"temp": "temperature", "top_p": "top_p", "top_k": "top_k", "min_p": "min_p"}
_GGUF_SAMPLERS = ("xtc_probability", "xtc_threshold", "mirostat", "mirostat_tau", "mirostat_eta")


def recommended_params(model: OpenModel) -> GenerateParams:
    """What the model's files recommend; `ConfigError` where that is nothing."""
    path = model.path
    file = _gguf(path) if path.is_file() else None
    if file is not None:
        said, where = _said_by_gguf(file, path), path.name
    else:
        beside = (path if path.is_dir() else path.parent) / FILE
        said, where = _said_by_folder(beside), FILE
    if said is None:
        raise ConfigError(
            f"the model {model.text.name} recommends no sampling: {FILE} and the keys {_KEY}* of GGUF files "
            "could, and it has none of them; say how tokens are to be chosen, or leave params out"
        )
    try:
        return GenerateParams(**{**_OFF, **said})
    except ConfigError as error:
        raise InvalidModelError(f"{where} recommends what cannot be: {_cause(error)}") from error


def chosen_params(model: OpenModel, params: Params) -> Params:
    """The same, with what the model recommends in the place of "model"."""
    if isinstance(params, str) and params == MODEL:
        return cast("Params", recommended_params(model))
    return params


# -- a folder


def _said_by_folder(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    config = {name: value for name, value in _object(path).items() if value is not None}
    samples = config.get("do_sample")
    if samples is not None and not isinstance(samples, bool):
        raise InvalidModelError(f"{FILE} has the do_sample {samples!r:.80}; it must be true or false")
    for name, neutral in _NOT_HERE.items():
        if name in config and config[name] not in neutral:
            raise _refusal(f"{FILE} recommends {name} = {config[name]!r:.80}")
    said = {name: config[name] for name in _NAMES if name in config}
    if said.get("top_k") == -1:
        said["top_k"] = 0
    if samples is False:
        # As transformers has it, the other choices then mean nothing.
        penalty = {name: said[name] for name in ("repetition_penalty",) if name in said}
        return {"temperature": 0.0, **penalty}
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


def _gguf(path: Path) -> "_native.GgufFile | None":
    import ruvllm._native as _native

    return _native.GgufFile.open(path)


def _said_by_gguf(file: "_native.GgufFile", path: Path) -> dict[str, Any] | None:
    keys = {key.removeprefix(_KEY): key for key in file.keys() if key.startswith(_KEY)}  # noqa: SIM118
    if not keys:
        return None
    values = {name: _value(file, key, path) for name, key in keys.items()}
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
    last = values.get("penalty_last_n", -1)
    if last == 0:
        return 1.0
    if last != -1 and values["penalty_repeat"] != 1:
        raise _refusal(f"{path.name} recommends a penalty of the last {last} tokens alone")
    return values["penalty_repeat"]


def _refusal(what: str) -> ModelError:
    return ModelError(f"{what}, which is not here; say yourself how tokens are to be chosen")


def _cause(error: Exception) -> str:
    return f"{str(error).removeprefix(f'{ConfigError.prefix}: '):.200}"
