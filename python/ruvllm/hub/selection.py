"""Which files of a repository make up the model that was asked for. Pure: names in, names out.

Serves what the Hub lists and what its cache holds alike, so that both answer in the same way.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ruvllm.errors import NotFoundError
from ruvllm.hub.reference import HubModel

__all__ = [
    "DEFAULT_QUANTIZATION",
    "Selection",
    "gguf_models",
    "is_meant",
    "quantization_of",
    "select",
    "select_adapter",
]

DEFAULT_QUANTIZATION = "Q4_K_M"

# As `peft` names them.
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")

_SPLIT = re.compile(r"-(\d{5})-of-(\d{5})$")
# "model-Q4_K_M", "model.q8_0", "UD-IQ2_XXS", "model.F16": the last such word of the name, or its folder.
_QUANTIZATION = re.compile(
    r"(?:^|[-._/])(?P<name>(?:ud-)?(?:i?q\d+(?:_[a-z0-9]+)*|tq\d_\d|bf16|fp?16|fp?32|mxfp4(?:_moe)?))(?=$|[-./])",
    re.IGNORECASE,
)
# Weights that are not the language model: vision projectors and importance matrices.
_OTHER_WEIGHTS = re.compile(r"(?:^|/)(?:mmproj|imatrix)|imatrix\.gguf$|mmproj[^/]*\.gguf$", re.IGNORECASE)
_FOLDER_FILES = re.compile(r"[^/]+\.json|[^/]+\.jinja|tokenizer\.model", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The files of one model; `entry_file` is the one to open, `None` where the folder is the model."""

    files: tuple[str, ...]
    entry_file: str | None
    quantization: str | None


def select(files: Iterable[str], model: HubModel) -> Selection:
    """Choose by file name, by quantization, or else: safetensors with config, then Q4_K_M, then the first."""
    names = sorted(files)
    if model.file_name:
        return _named_file(names, model)
    ggufs = gguf_models(names)
    if model.quantization is None:
        if folder := _folder(names):
            return folder
        default = [choice for choice in ggufs if _same(choice, DEFAULT_QUANTIZATION)]
        if ggufs:
            return (default or ggufs)[0]
        raise NotFoundError(
            f"{model.repo_id} holds neither .gguf files nor config.json with .safetensors files"
        )
    for choice in ggufs:
        if _same(choice, model.quantization):
            return choice
    raise NotFoundError(_no_quantization(model, ggufs))


def is_meant(selection: Selection, model: HubModel) -> bool:
    """Whether what was chosen among a part of the files is what would be chosen among all of them.

    Where no quantization was asked for, it is the default one: the meaning of a name must not hang on what
    happens to be here.
    """
    if selection.entry_file is None or model.file_name or model.quantization:
        return True
    return selection.quantization == DEFAULT_QUANTIZATION


def select_adapter(files: Iterable[str], model: HubModel) -> Selection:
    """Choose an adapter by file name, or the folder of PEFT's that the repository is."""
    names = sorted(files)
    if model.file_name:
        return _named_file(names, model)
    if missing := [name for name in ADAPTER_FILES if name not in names]:
        raise NotFoundError(f"{model.repo_id} is no adapter: it has no {' and no '.join(missing)}")
    return Selection(files=ADAPTER_FILES, entry_file=None, quantization=None)


def gguf_models(files: Iterable[str]) -> list[Selection]:
    """Return each GGUF model among the files, split ones as one; where a part is missing, it is left out."""
    groups: dict[str, list[str]] = {}
    for name in sorted(files):
        if name.lower().endswith(".gguf") and not _OTHER_WEIGHTS.search(name):
            groups.setdefault(_stem(name), []).append(name)
    return [
        Selection(files=tuple(parts), entry_file=parts[0], quantization=quantization_of(parts[0]))
        for parts in groups.values()
        if len(parts) == _num_parts(parts[0])
    ]


def quantization_of(file_name: str) -> str | None:
    """Return the quantization that a file's name (or its folder's) tells, in capitals."""
    stem = _stem(file_name)
    found = [match["name"] for match in _QUANTIZATION.finditer(stem.rpartition("/")[2])]
    found = found or [match["name"] for match in _QUANTIZATION.finditer(stem)]
    return found[-1].upper() if found else None


def _named_file(names: list[str], model: HubModel) -> Selection:
    if model.file_name not in names:
        ggufs = [name for name in names if name.lower().endswith(".gguf")]
        raise NotFoundError(
            f"{model.repo_id} has no file {model.file_name!r}; its .gguf files: {', '.join(ggufs) or 'none'}"
        )
    for choice in gguf_models(names):
        if model.file_name in choice.files:
            return choice
    return Selection(
        files=(model.file_name,), entry_file=model.file_name, quantization=quantization_of(model.file_name)
    )


def _folder(names: list[str]) -> Selection | None:
    # Only the top folder: repositories keep copies in other formats in folders beside it.
    top = [name for name in names if "/" not in name]
    weights = [name for name in top if name.endswith(".safetensors")]
    # Mistral's repositories hold the same weights twice: model-*.safetensors and consolidated.safetensors.
    weights = [name for name in weights if name.startswith("model")] or weights
    if not weights or "config.json" not in top:
        return None
    descriptions = [name for name in top if _FOLDER_FILES.fullmatch(name)]
    return Selection(files=tuple(descriptions + weights), entry_file=None, quantization=None)


def _no_quantization(model: HubModel, ggufs: list[Selection]) -> str:
    known = [choice.quantization for choice in ggufs if choice.quantization]
    if not ggufs:
        return f"{model.repo_id} holds no .gguf files, so {model.quantization!r} cannot be chosen"
    files = ", ".join(known or [choice.entry_file or "" for choice in ggufs])
    return f"{model.repo_id} has no quantization {model.quantization!r}; it has: {files}"


def _same(choice: Selection, quantization: str) -> bool:
    return choice.quantization is not None and choice.quantization.lower() == quantization.lower()


def _stem(file_name: str) -> str:
    return _SPLIT.sub("", file_name[: -len(".gguf")])


def _num_parts(file_name: str) -> int:
    split = _SPLIT.search(file_name[: -len(".gguf")])
    return int(split[2]) if split else 1
