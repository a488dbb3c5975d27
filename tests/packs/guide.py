"""The kernel of docs/kernel-packs.md, built, described and signed as that page says."""

import base64
import hashlib
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from ruvllm.packs import sign_pack
from tests.architecture import sources
from tests.packs.pack_copies import KEY, TRUSTED

PAGE = (sources.ROOT / "docs" / "kernel-packs.md").read_text(encoding="utf-8")


def block(name: str) -> str:
    match = re.search(rf"<!-- guide:{re.escape(name)} -->\n```\w+\n(.*?)^```$", PAGE, re.M | re.S)
    assert match, name
    return match.group(1)


def build_pack(folder: Path, source: str | None = None) -> Path:
    """The page's pack, below an empty folder; or the same with another source."""
    pack = folder / "my-pack"
    pack.mkdir()
    shutil.copy(sources.RUST / "packs" / "kernels" / "abi.h", folder)
    (folder / "rmsnorm.c").write_text(source or block("rmsnorm.c"))
    program, *arguments = shlex.split(block("build"))
    assert program == "python"
    subprocess.run([sys.executable, *arguments], cwd=folder, check=True, timeout=50)
    digest = hashlib.sha256((pack / "rmsnorm_f32.wasm").read_bytes()).hexdigest()
    manifest = block("kernels.json").replace("sha256:...", f"sha256:{digest}").replace("ed25519:...", TRUSTED)
    (pack / "kernels.json").write_text(manifest)
    (folder / "my.key").write_bytes(base64.b64encode(KEY.private_bytes_raw()))
    assert sign_pack(pack, folder / "my.key") == TRUSTED
    return pack
