"""`adapter_config.json`, as PEFT writes it: what of it is honoured, and why an adapter is refused."""

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ruvllm.adapters.weights import MAX_RANK
from ruvllm.errors import AdapterError

__all__ = ["PeftConfig", "read_config"]

Number = TypeVar("Number", int, float)

MAX_CONFIG_BYTES = 1024 * 1024
# A name, or the end of one after a dot; PEFT takes any regular expression here, which a file must not bring.
_NAME = re.compile(r"\^?[A-Za-z0-9_.]{1,256}")
# Settings that change what an adapter computes, with what they are where they change nothing.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "use_dora": (False, None),
    "modules_to_save": (None, []),
    "bias": ("none", None),
    "lora_bias": (False, None),
    "alora_invocation_tokens": (None, []),
    "use_qalora": (False, None),
    "use_bdlora": (False, None),
    "layer_replication": (None, []),
    "trainable_token_indices": (None, [], {}),
    "target_parameters": (None, []),
    "megatron_config": (None, {}),
    "arrow_config": (None, {}),
    "velora_config": (None, {}),
    "kasa_config": (None, {}),
    "monteclora_config": (None, {}),
    "fan_in_fan_out": (False, None),
}
# Beginnings that change the base's own weights, so that the file alone is not the adapter.
_INITS_OF_THE_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")


@dataclass(frozen=True, slots=True, kw_only=True)
class PeftConfig:
    """What a configuration says of the tensors beside it."""

    rank: int
    alpha: float
    rank_pattern: dict[str, int]
    alpha_pattern: dict[str, float]
    use_rslora: bool
    target_modules: tuple[str, ...] | None
    exclude_modules: tuple[str, ...]
    layers: frozenset[int] | None
    base_model: str | None

    def rank_of(self, module: str) -> int:
        """The rank of a module, named from `model` on, as `model.layers.0.self_attn.q_proj`."""
        return _by_pattern(self.rank_pattern, module) or self.rank

    def scale_of(self, module: str) -> float:
        """What the product of its matrices is multiplied with."""
        rank, alpha = self.rank_of(module), _by_pattern(self.alpha_pattern, module)
        alpha = self.alpha if alpha is None else alpha
        return alpha / math.sqrt(rank) if self.use_rslora else alpha / rank

    def is_targeted(self, module: str, layer: int) -> bool:
        """Whether the configuration has it among those that were trained."""
        if any(_is_named(name, module) for name in self.exclude_modules):
            return False
        if self.layers is not None and layer not in self.layers:
            return False
        return self.target_modules is None or any(_is_named(name, module) for name in self.target_modules)


def read_config(path: Path) -> PeftConfig:
    """Read one, or say all that speaks against it."""
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise AdapterError(f"{path} is larger than {MAX_CONFIG_BYTES} bytes")
        settings = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise AdapterError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise AdapterError(f"{path} is no JSON: {error}") from error
    if not isinstance(settings, dict):
        raise AdapterError(f"{path} is no object of settings")
    reader = _Reader(settings)
    config = reader.config()
    if config is None or reader.reasons:
        raise AdapterError(f"{path} cannot be honoured: " + "; ".join(reader.reasons))
    return config


class _Reader:
    """Collects what it reads, and what is wrong with it: a user wants to know all at once."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._settings = settings
        self.reasons: list[str] = []

    def config(self) -> PeftConfig | None:
        get = self._settings.get
        if (kind := get("peft_type")) != "LORA":
            self.reasons.append(f"peft_type is {kind!r}, it must be 'LORA'")
        for name, neutral in _NEUTRAL.items():
            if name in self._settings and not any(_same(get(name), value) for value in neutral):
                self.reasons.append(f"{name} is {_short(get(name))}")
        begins = get("init_lora_weights")
        if isinstance(begins, str) and begins.lower().startswith(_INITS_OF_THE_BASE):
            self.reasons.append(f"init_lora_weights is {_short(begins)}, which changes the base as well")
        rank, alpha = self._rank("r", get("r", 8)), self._alpha("lora_alpha", get("lora_alpha", 8))
        ranks = {
            name: self._rank(f"rank_pattern of {name}", value)
            for name, value in self._pattern("rank_pattern")
        }
        alphas = {
            name: self._alpha(f"alpha_pattern of {name}", value)
            for name, value in self._pattern("alpha_pattern")
        }
        target = self._names("target_modules", get("target_modules"))
        exclude = self._names("exclude_modules", get("exclude_modules"))
        layers = self._layers(get("layers_to_transform"))
        base = get("base_model_name_or_path")
        if self.reasons:
            return None
        return PeftConfig(
            rank=rank,
            alpha=alpha,
            rank_pattern=ranks,
            alpha_pattern=alphas,
            use_rslora=get("use_rslora") is True,
            target_modules=target,
            exclude_modules=exclude or (),
            layers=layers,
            base_model=base if isinstance(base, str) else None,
        )

    def _rank(self, name: str, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_RANK:
            self.reasons.append(f"{name} is {_short(value)}; it must be 1 to {MAX_RANK}")
            return 1
        return value

    def _alpha(self, name: str, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            self.reasons.append(f"{name} is {_short(value)}; it must be a finite number")
            return 1.0
        return float(value)

    def _pattern(self, name: str) -> list[tuple[str, object]]:
        found = self._settings.get(name) or {}
        if not isinstance(found, dict):
            self.reasons.append(f"{name} is {_short(found)}; it must be an object")
            return []
        return [(key, value) for key, value in found.items() if self._is_name(name, key)]

    def _names(self, name: str, value: object) -> tuple[str, ...] | None:
        if value is None or value == "all-linear":
            return None
        names = [value] if isinstance(value, str) else value
        if not isinstance(names, list):
            self.reasons.append(f"{name} is {_short(value)}; it must be a list of names")
            return None
        return tuple(one for one in names if self._is_name(name, one))

    def _is_name(self, where: str, value: object) -> bool:
        if isinstance(value, str) and _NAME.fullmatch(value):
            return True
        self.reasons.append(f"{where} has {_short(value)}; names are read, and no regular expressions")
        return False

    def _layers(self, value: object) -> frozenset[int] | None:
        if value is None:
            return None
        layers = value if isinstance(value, list) else [value]
        if not all(isinstance(one, int) and not isinstance(one, bool) and one >= 0 for one in layers):
            self.reasons.append(f"layers_to_transform is {_short(value)}; it must be layers' numbers")
            return None
        return frozenset(layers)


def _same(value: object, neutral: object) -> bool:
    return type(value) is type(neutral) and value == neutral


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _is_named(name: str, module: str) -> bool:
    """Whether a pattern of PEFT's means a module: all of its name, or the end of it after a dot."""
    if name.startswith("^"):
        return module == name[1:]
    return module == name or module.endswith(f".{name}")


def _by_pattern(pattern: dict[str, Number], module: str) -> Number | None:
    return next((value for name, value in pattern.items() if _is_named(name, module)), None)
