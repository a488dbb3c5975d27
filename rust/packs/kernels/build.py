"""Builds the reference kernel pack from the C sources beside it, and checks what is committed.

    python rust/packs/kernels/build.py --check             rebuild; compare modules, lock, manifest, signature
    python rust/packs/kernels/build.py --write             rebuild; write modules, lock and manifest
    python rust/packs/kernels/build.py --write --key FILE  and sign the manifest with the key in FILE

Where FILE is not there yet, a new release key is made, and its public half is the trusted one from then on.
A key that is there must be the trusted one: whom users trust never changes by mistake.

Needs the extra `kernels` (`pip install 'ruvllm[kernels]'`). The compiler is the pinned `ziglang` and nothing
else; modules carry no names, paths or dates, so the same sources give the same bytes.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import importlib.metadata
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from manifest import VERSION, manifest_bytes
from modules import MODULES, Module
from signing import SigningError, make_key, public_half, sign, verify

ZIGLANG = "0.17.0"
HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[2]
LOCK = HERE / "hashes.lock"
PACKS = REPOSITORY / "python" / "ruvllm" / "packs"
PACK = PACKS / f"kernel-pack-v{VERSION}"
TRUSTED_KEY = PACKS / "trusted_keys" / "ruvllm-release.pub"
STACK_BYTES = 4096
LARGEST_MODULE_BYTES = 10_000
FLAGS = (
    "-target wasm32-freestanding -std=c11 -O3 -msimd128 -mrelaxed-simd -ffp-contract=off -Wall -Wextra "
    f"-Werror -g0 -nostdlib -Wl,--no-entry -Wl,-s -Wl,-z,stack-size={STACK_BYTES} -Wl,--export=__heap_base"
).split()


class BuildError(Exception):
    """Something that is not as it should be, with what to do about it."""


def compile_module(module: Module, output: Path, cache: Path) -> bytes:
    """One module, as bytes."""
    command = [
        *(sys.executable, "-m", "ziglang", "cc", *FLAGS),
        f"-Wl,--max-memory={module.max_memory_pages << 16}",
        *(f"-D{define}" for define in module.defines),
        *("-o", str(output), module.source),
    ]
    environment = {**os.environ, "ZIG_GLOBAL_CACHE_DIR": str(cache), "ZIG_LOCAL_CACHE_DIR": str(cache)}
    done = subprocess.run(command, cwd=HERE, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BuildError(f"{module.id} does not compile:\n{done.stderr}")
    built = output.read_bytes()
    if len(built) > LARGEST_MODULE_BYTES:
        raise BuildError(f"{module.id} has {len(built)} bytes; {LARGEST_MODULE_BYTES} are allowed")
    return built


def build() -> dict[str, bytes]:
    """All modules by their path in the pack, from a cold cache."""
    try:
        version = importlib.metadata.version("ziglang")
    except importlib.metadata.PackageNotFoundError:
        version = "none"
    if version != ZIGLANG:
        raise BuildError(f"ziglang {ZIGLANG} is needed, there is {version}: pip install ziglang=={ZIGLANG}")
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder)
        return {module.path: compile_module(module, cache / f"{module.id}.wasm", cache) for module in MODULES}


def digests(modules: dict[str, bytes]) -> dict[str, str]:
    return {path: hashlib.sha256(data).hexdigest() for path, data in modules.items()}


def lock_text(hashes: dict[str, str], created_at: str) -> str:
    lines = [
        f"ziglang {ZIGLANG}",
        f"created_at {created_at}",
        *(f"{digest}  {path}" for path, digest in hashes.items()),
    ]
    return "\n".join(lines) + "\n"


def locked() -> tuple[dict[str, str], str]:
    """The hashes by path, and when the pack was made."""
    if not LOCK.exists():
        return {}, ""
    lines = [line.split() for line in LOCK.read_text(encoding="utf-8").splitlines()]
    created_at = next(value for name, value in lines if name == "created_at")
    return {path: digest for digest, path in lines if path.endswith(".wasm")}, created_at


def trusted_key() -> str:
    if not TRUSTED_KEY.exists():
        raise BuildError(f"{TRUSTED_KEY} is missing: make a key with --write --key FILE")
    return TRUSTED_KEY.read_text(encoding="ascii").strip()


def write() -> None:
    """Modules, lock and manifest; a new date only where a module is new."""
    modules = build()
    hashes = digests(modules)
    before, created_at = locked()
    if hashes != before:
        created_at = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    for path, data in modules.items():
        (PACK / path).parent.mkdir(parents=True, exist_ok=True)
        (PACK / path).write_bytes(data)
    LOCK.write_text(lock_text(hashes, created_at), encoding="utf-8")
    manifest = manifest_bytes(hashes, created_at, trusted_key())
    (PACK / "kernels.json").write_bytes(manifest)
    signature = PACK / "kernels.json.sig"
    if not signature.exists() or not verify(manifest, signature.read_bytes(), trusted_key()):
        say("kernels.json is new: sign it with --write --key FILE")


def write_signed(key_file: Path) -> None:
    """As `write`, with the signature, by a new key where there is none in the file."""
    if key_file.exists():
        if public_half(key_file, REPOSITORY) != trusted_key():
            raise SigningError(
                f"{key_file} is not the private half of {trusted_key()}, which is trusted; for another key, "
                "name a file that is not there yet"
            )
    else:
        public = make_key(key_file, REPOSITORY)
        TRUSTED_KEY.parent.mkdir(parents=True, exist_ok=True)
        TRUSTED_KEY.write_text(public + "\n", encoding="ascii")
        say(f"{public} is trusted now; its private half is in {key_file}: keep it, nobody can make it again")
    write()
    manifest = (PACK / "kernels.json").read_bytes()
    signature = sign(manifest, key_file, REPOSITORY)
    if not verify(manifest, signature, trusted_key()):
        raise SigningError("the signature is not the trusted key's")
    (PACK / "kernels.json.sig").write_bytes(signature)
    say(f"signed by {trusted_key()}")


def check() -> None:
    """What is committed against the lock and the trusted key, then what the sources give against the lock."""
    hashes, created_at = locked()
    if hashes.keys() != {module.path for module in MODULES}:
        raise BuildError(f"hashes.lock names other modules: {', '.join(sorted(hashes))}")
    manifest = manifest_bytes(hashes, created_at, trusted_key())
    expected = {**hashes, "kernels.json": hashlib.sha256(manifest).hexdigest()}
    present = {
        path.relative_to(PACK).as_posix(): path.read_bytes() for path in PACK.rglob("*") if path.is_file()
    }
    signature = present.pop("kernels.json.sig", b"")
    found = digests(present)
    wrong = sorted(path for path in {*expected, *found} if found.get(path) != expected.get(path))
    if wrong:
        raise BuildError(f"{PACK.name} is not what hashes.lock names: {', '.join(wrong)}")
    if not verify(manifest, signature, trusted_key()):
        raise BuildError(
            "kernels.json.sig is not the trusted key's signature of kernels.json: --write --key FILE"
        )
    modules = build()
    wrong = [path for path, digest in digests(modules).items() if hashes[path] != digest]
    if wrong:
        raise BuildError(f"the sources give other modules than hashes.lock names: {', '.join(wrong)}")
    say(f"{len(modules)} modules, {sum(map(len, modules.values()))} bytes: as committed, and signed")


def say(text: str) -> None:
    sys.stdout.write(text + "\n")


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    actions = parser.add_mutually_exclusive_group(required=True)
    actions.add_argument("--check", action="store_true")
    actions.add_argument("--write", action="store_true")
    parser.add_argument("--key", type=Path, metavar="FILE", help="sign what is written")
    arguments = parser.parse_args()
    if arguments.check and arguments.key:
        parser.error("--check signs nothing; --key goes with --write")
    try:
        if arguments.check:
            check()
        elif arguments.key:
            write_signed(arguments.key)
        else:
            write()
    except (BuildError, SigningError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
