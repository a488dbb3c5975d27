"""A pack that was verified, as a value; and the door to the extension's part of it."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import ruvllm._native as _native
from ruvllm.errors import BackendError
from ruvllm.packs.trust import default_trusted_keys

__all__ = ["KernelPack", "native_packs", "reference_pack", "require_packs"]


def reference_pack() -> Path:
    """The pack in the package: kernels that compute what the engine's own do, signed by the release key."""
    return Path(__file__).parent / "kernel-pack-v1.0.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelPack:
    """A pack whose signature, hashes, versions and results were right when it was read.

    It holds no code: who uses the folder again verifies it again.

    Attributes:
        path: The folder that was read.
        name: What it calls itself.
        version: Its version, `X.Y.Z`.
        signer: The trusted key that signed it.
        digest: The SHA-256 of its manifest, in which the hashes of everything else stand.
        kernels: The ids of its kernels.
        generation: Which activation of its manager it is, from 1 on; 0 where it was only verified.
        is_broken: Whether one of its kernels failed so often in a row that it is not called any more.
        last_fault: What went wrong last.
    """

    path: Path
    name: str
    version: str
    signer: str
    digest: str
    kernels: tuple[str, ...]
    generation: int = 0
    is_broken: bool = False
    last_fault: str | None = None

    @classmethod
    def verify(cls, path: str | os.PathLike[str], trusted_keys: Iterable[str] | None = None) -> "KernelPack":
        """Read a pack, check all of it, compile it and compare its kernels with the native ones.

        Raises `PackError` where it is refused, with the rule in `reason`. `trusted_keys` stand in the place
        of `default_trusted_keys()`; with none of them, every pack is refused.
        """
        return cls.of(native_packs(trusted_keys).verify(os.fspath(path)), Path(path))

    @classmethod
    def of(cls, summary: "_native.PackSummary", path: Path) -> "KernelPack":
        """Take over what the engine says of a pack."""
        return cls(
            path=path,
            name=summary.name,
            version=summary.version,
            signer=summary.signer,
            digest=summary.digest,
            kernels=tuple(summary.kernels),
            generation=summary.generation,
            is_broken=summary.is_broken,
            last_fault=summary.last_fault,
        )


def require_packs() -> None:
    """`BackendError` in a build without the feature."""
    if not hasattr(_native, "KernelPacks"):
        raise BackendError(
            "this build of ruvllm has no kernel packs: its extension was built without the feature 'packs'; "
            "install a released wheel, or build with the default features"
        )


def native_packs(
    trusted_keys: Iterable[str] | None,
    *,
    floors: Path | None = None,
    isa: str | None = None,
) -> "_native.KernelPacks":
    """The extension's packs of these keys."""
    require_packs()
    return _native.KernelPacks(
        trusted_keys=list(default_trusted_keys() if trusted_keys is None else trusted_keys),
        floors=None if floors is None else str(floors),
        isa=isa,
    )
