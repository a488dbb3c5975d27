"""`SystemCapabilities`: what of this machine decides how a model runs."""

from dataclasses import dataclass

import ruvllm._native as _native
from ruvllm._settings import of_this_machine
from ruvllm.engine_settings import EngineSettings, Isa
from ruvllm.observability.machine_memory import MachineMemory
from ruvllm.types import DeviceType

__all__ = ["SystemCapabilities"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemCapabilities:
    """What of this machine decides how a model runs. Memory is `None` where the system does not tell.

        SystemCapabilities.detect().free_bytes

    Attributes:
        device: Where models run.
        isa: The instruction set that the kernels use.
        isa_reason: Why that one.
        threads: Threads that the engine takes.
        threads_reason: Why so many.
        total_bytes: The memory that this process could have: the machine's or its control group's, whichever
            is less.
        free_bytes: What of it the process may still take.
    """

    device: DeviceType
    isa: str
    isa_reason: str
    threads: int
    threads_reason: str
    total_bytes: int | None
    free_bytes: int | None

    @classmethod
    def detect(cls, *, isa: Isa | None = None, threads: int | None = None) -> "SystemCapabilities":
        """Ask this machine, as loading a model does.

        Args:
            isa: As of `LLM`, to ask whether it is there; RUVLLM_ISA counts where nothing is said.
            threads: Likewise, and RUVLLM_THREADS.
        """
        asked = of_this_machine(EngineSettings(isa=isa, threads=threads))
        system = _native.System.detect(asked.isa, asked.threads)
        memory = MachineMemory.now()
        return cls(
            device=DeviceType.auto(),
            isa=system.isa,
            isa_reason=system.isa_reason,
            threads=system.threads,
            threads_reason=system.threads_reason,
            total_bytes=memory.most_bytes,
            free_bytes=memory.available_bytes,
        )
