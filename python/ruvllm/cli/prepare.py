"""`ruvllm prepare`: weights packed once, for every later start to map."""

import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import ruvllm.hub as hub
from ruvllm.cli import terminal
from ruvllm.cli.command import CommonOptions, command, flag
from ruvllm.cli.fetching import fetched
from ruvllm.cli.options import CacheOptions
from ruvllm.errors import ConfigError, NotFoundError
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
    if remove:
        _remove(models, cache.cache_dir, quiet=common.quiet, json=json)
        return
    rows = []
    for name in models:
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


def _remove(names: list[str], cache: Path | None, *, quiet: bool, json: bool) -> None:
    # All are looked for before one is deleted.
    found = {name: _images_of(name, cache) for name in names}
    for name, images in found.items():
        for image in images:
            image.path.unlink(missing_ok=True)
        if not quiet:
            freed = terminal.size(sum(one.size_bytes for one in images))
            terminal.note(f"{name}: {len(images)} images deleted, {freed}")
    if json:
        terminal.print_json({"images": [_row(one) for images in found.values() for one in images]})


def _images_of(name: str, cache: Path | None) -> "list[Image]":
    """The images of a name as it is listed, or as models are called."""
    from ruvllm.runtime import weight_images

    names = {name, Path(name).name.removesuffix(".gguf")}
    entry = hub.DEFAULT_REGISTRY.find(name)
    if isinstance(entry, hub.RegistryEntry):
        names.add(entry.file_name.removesuffix(".gguf"))
    # An image is called as the model's file is; without that, the name alone is known.
    with suppress(NotFoundError, ConfigError):
        names.add(hub.find(name, cache=cache).name.removesuffix(".gguf"))
    if found := [one for one in weight_images.images_in() if one.model in names]:
        return found
    raise NotFoundError(f"no image of {name} is here; `ruvllm prepare` lists those that are")
