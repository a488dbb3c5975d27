"""`ruvllm prepare`: weights packed once, for every later start to map."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import ruvllm.hub as hub
from ruvllm.cli import terminal
from ruvllm.cli.command import CommonOptions, command, flag
from ruvllm.cli.fetching import fetched
from ruvllm.cli.options import CacheOptions
from ruvllm.hub.progress import loading_bar

if TYPE_CHECKING:
    from ruvllm.runtime.weight_images import Image

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(
        app,
        "prepare",
        examples=[
            "ruvllm prepare smollm2-135m            once; then `ruvllm chat` and `serve` start at once",
            "ruvllm prepare                         what is prepared",
            "ruvllm prepare smollm2-135m --remove",
        ],
    )(prepare)


def prepare(
    cache: CacheOptions,
    common: CommonOptions,
    *,
    models: Annotated[
        list[str] | None,
        typer.Argument(help="Names of models; without one, all that are prepared are listed."),
    ] = None,
    remove: Annotated[
        bool, flag("--remove", variable="RUVLLM_PREPARE_REMOVE", help="Delete the images instead.")
    ] = False,
    json: Annotated[bool, flag("--json", help="For programs.")] = False,
) -> None:
    """Pack weights as this engine computes with them into a file that every later start maps instead.

    A model of 8B is then ready within a second, and processes that serve it share its weights. The image is
    about as large as the model's file and lies in the cache folder; a model that changed is packed anew.
    """
    from ruvllm.runtime import weight_images

    if not models:
        _show(list(weight_images.images_in()), json=json)
        return
    rows = []
    for name in models:
        if remove:
            rows += [_row(one) for one in _removed(name, quiet=common.quiet)]
            continue
        path = fetched(name, quiet=common.quiet, cache=cache.cache_dir)
        begin = time.perf_counter()
        with loading_bar(f"Packing {name}", quiet=common.quiet) as report:
            image, was_there = weight_images.prepare(path, report)
        seconds = time.perf_counter() - begin
        rows.append(_row(image) | {"was_there": was_there, "seconds": seconds})
        if not common.quiet and not json:
            done = "was prepared before" if was_there else f"packed in {seconds:.1f} s"
            terminal.note(f"{name}: {terminal.size(image.size_bytes)}, {done}: {image.path}")
    if json:
        terminal.print_json({"images": rows})


def _row(image: "Image") -> dict[str, Any]:
    return {"model": image.model, "path": str(image.path), "size_bytes": image.size_bytes}


def _show(images: "list[Image]", *, json: bool) -> None:
    if json:
        terminal.print_json({"images": [_row(one) for one in images]})
    elif images:
        rows = [(one.model, terminal.size(one.size_bytes), str(one.path)) for one in images]
        terminal.show_table(["model", "size", "file"], rows, right=["size"])
    else:
        terminal.note("no model is prepared yet; prepare one with `ruvllm prepare smollm2-135m`")


def _removed(name: str, *, quiet: bool) -> "list[Image]":
    """Delete the images of a name as it is listed, or as models are called."""
    from ruvllm.runtime import weight_images

    entry = hub.DEFAULT_REGISTRY.find(name)
    file_name = entry.file_name if isinstance(entry, hub.RegistryEntry) else name
    stem = Path(file_name).name.removesuffix(".gguf")
    found = [one for one in weight_images.images_in() if one.model in (name, stem)]
    for image in found:
        image.path.unlink(missing_ok=True)
    if not quiet:
        freed = terminal.size(sum(one.size_bytes for one in found))
        terminal.note(f"{name}: {len(found)} images deleted, {freed}")
    return found
