"""Wheels and registry entries, made on the spot."""

import base64
import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

from ruvllm.hub import RegistryEntry, WheelPart


def write_wheel(folder: Path, package: str, files: dict[str, bytes]) -> Path:
    name = package.replace("-", "_")
    info = f"{name}-1.0.dist-info"
    contents = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{file},{_record_hash(data)},{len(data)}\n" for file, data in contents.items())
    contents[f"{info}/RECORD"] = (record + f"{info}/RECORD,,\n").encode()
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file, data in contents.items():
            archive.writestr(file, data)
    return path


def write_source_archive(folder: Path, package: str, code: str) -> Path:
    """An archive whose build runs `code`, without anything from an index."""
    root = f"{package}-1.0"
    files = {
        "PKG-INFO": f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n",
        "pyproject.toml": "[build-system]\nrequires = []\nbuild-backend = 'build'\nbackend-path = ['.']\n",
        "build.py": f"{code}\n",
    }
    path = folder / f"{root}.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(f"{root}/{name}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return path


def _record_hash(data: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def make_entry(pieces: list[bytes], *, name: str = "tiny") -> RegistryEntry:
    parts = tuple(
        WheelPart(
            package=f"{name}-part{index}", version="1.0", member=f"data/{name}.{index}", size_bytes=len(piece)
        )
        for index, piece in enumerate(pieces)
    )
    return RegistryEntry(
        name=name,
        aliases=(f"{name}-alias",),
        description="made by a test",
        file_name=f"{name}.gguf",
        quantization="Q4_1",
        sha256=hashlib.sha256(b"".join(pieces)).hexdigest(),
        licence="MIT",
        licence_url="https://example.org/licence",
        parts=parts,
    )
