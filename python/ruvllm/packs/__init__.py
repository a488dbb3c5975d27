"""Kernel packs: signed WebAssembly kernels of others in the forward pass, in a sandbox.

    pack = KernelPack.verify(reference_pack())
    with LLM("smollm2-135m", kernel_pack="reference") as llm:
        llm.generate("Once upon a time")
        print(llm.stats().kernel_pack.calls)

A pack runs only if a key that this machine trusts signed it, and where a kernel of it fails, the native one
computes. See docs/kernel-packs.md for what that promises, and how to write one.
"""

from ruvllm.errors import KernelError, PackError
from ruvllm.figures import KernelPackStats
from ruvllm.packs.manager import KernelManager
from ruvllm.packs.pack import KernelPack, reference_pack
from ruvllm.packs.runtime import KernelRuntime
from ruvllm.packs.signing import make_key, sign_pack
from ruvllm.packs.store import InstalledPack, PackStore, find_pack
from ruvllm.packs.trust import default_trusted_keys

__all__ = [
    "InstalledPack",
    "KernelError",
    "KernelManager",
    "KernelPack",
    "KernelPackStats",
    "KernelRuntime",
    "PackError",
    "PackStore",
    "default_trusted_keys",
    "find_pack",
    "make_key",
    "reference_pack",
    "sign_pack",
]
