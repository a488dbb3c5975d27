"""Which pack computes: upgrades that running requests do not notice, and the way back."""

import os
from collections.abc import Iterable
from pathlib import Path

import ruvllm._native as _native
from ruvllm.errors import IoError
from ruvllm.figures import KernelPackStats
from ruvllm.packs.pack import KernelPack, native_packs
from ruvllm.packs.store import find_pack

__all__ = ["KernelManager"]


class KernelManager:
    """The packs of one engine; every method may be called from any thread, while requests run.

        manager = KernelManager()
        manager.activate("reference")

    A step that has begun finishes on the pack it began with. The pack before is kept for five minutes, in
    which it comes back by itself where the new one breaks, or by `rollback`. `LLM(..., kernel_pack=...)`
    makes a manager and has it as `llm.kernel_packs`; one that was made by hand serves no model.
    """

    def __init__(
        self,
        trusted_keys: Iterable[str] | None = None,
        *,
        floors: Path | None = None,
        isa: str | None = None,
    ) -> None:
        """Begin without a pack.

        Args:
            trusted_keys: Whose packs it runs; by default `default_trusted_keys()`.
            floors: The file that remembers the newest version of each pack's name, so that nobody goes back
                to an older one unnoticed; by default they are forgotten with the process.
            isa: The instruction set of the native kernels beside it; by default the best one.
        """
        if floors is not None:
            try:
                floors.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise IoError(
                    f"{floors.parent}: versions of packs cannot be remembered there: {error}; set "
                    "RUVLLM_HOME to a folder that can be written"
                ) from error
        self._native = native_packs(trusted_keys, floors=floors, isa=isa)
        self._paths: dict[str, Path] = {}

    def __repr__(self) -> str:
        current = self.current()
        active = "native" if current is None else f"{current.name} {current.version}"
        return f"KernelManager({active})"

    @property
    def native(self) -> "_native.KernelPacks":
        """The extension's part, which a model is loaded with."""
        return self._native

    def activate(self, pack: str | os.PathLike[str], *, allow_downgrade: bool = False) -> KernelPack:
        """Verify and compile a pack, compare it with the native kernels, compute with it from the next step.

        Where anything is wrong, `PackError` says so and everything stays as it is.

        Args:
            pack: A folder, `reference`, or the name of an installed pack.
            allow_downgrade: Take a version older than one that was active before.
        """
        path = find_pack(pack)
        return self._remembered(self._native.activate(os.fspath(path), allow_downgrade), path)

    def rollback(self) -> KernelPack:
        """Go back to the pack before; `PackError` (`NoPreviousPack`) where there is none any more."""
        return self._known(self._native.rollback())

    def deactivate(self) -> None:
        """Compute natively from the next step on; `rollback` brings the pack back."""
        self._native.deactivate()

    def current(self) -> KernelPack | None:
        """The pack that the next step computes with; `None` where it is native."""
        summary = self._native.current()
        return None if summary is None else self._known(summary)

    def previous(self) -> KernelPack | None:
        """The pack that `rollback` would go back to."""
        summary = self._native.previous()
        return None if summary is None else self._known(summary)

    def stats(self) -> KernelPackStats:
        """Which operation ran where, since this was made; the counts outlive packs."""
        current, counts = self._native.current(), self._native.calls()
        return KernelPackStats(
            pack=None if current is None else f"{current.name} {current.version}",
            calls={operation: in_pack for operation, in_pack, _, _ in counts},
            native_calls={operation: native for operation, _, native, _ in counts},
            fallbacks={operation: dict(reasons) for operation, _, _, reasons in counts if reasons},
            automatic_rollbacks=self._native.automatic_rollbacks,
        )

    def _remembered(self, summary: "_native.PackSummary", path: Path) -> KernelPack:
        self._paths[summary.digest] = path
        return KernelPack.of(summary, path)

    def _known(self, summary: "_native.PackSummary") -> KernelPack:
        # Whatever is or was active came through `activate`.
        return KernelPack.of(summary, self._paths[summary.digest])
