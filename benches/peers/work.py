"""What a model's file asks of a machine: bytes that each token reads, operations that each prompt takes."""

from dataclasses import dataclass
from pathlib import Path

from ruvllm.observability.peaks import InstructionPeak

__all__ = ["Work"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Of one file.

    Attributes:
        bytes_per_token: Bytes of tensors that a decode step reads: all but an embedding table that is not
            also the head.
        layer_weights: Weights of the products that every token of a prompt takes part in.
        head_weights: Weights of the head, for which a prompt has one row.
    """

    bytes_per_token: int
    layer_weights: int
    head_weights: int

    @classmethod
    def of(cls, path: Path) -> "Work":
        """Read from the file's header."""
        from gguf import GGUFReader

        tensors = {tensor.name: tensor for tensor in GGUFReader(path).tensors}
        embedding = tensors["token_embd.weight"]
        head = tensors.get("output.weight", embedding)
        return cls(
            bytes_per_token=sum(int(tensor.n_bytes) for tensor in tensors.values())
            - (int(embedding.n_bytes) if head is not embedding else 0),
            layer_weights=sum(
                int(tensor.n_elements)
                for name, tensor in tensors.items()
                if name.startswith("blk.") and len(tensor.shape) == 2
            ),
            head_weights=int(head.n_elements),
        )

    def operations(self, prompt_tokens: int) -> int:
        """Multiplications and additions of a prompt's products."""
        return 2 * (self.layer_weights * prompt_tokens + self.head_weights)

    def prefill_bound(self, instruction: InstructionPeak | None, prompt_tokens: int) -> float | None:
        """Tokens a second of a prompt that the instruction allows; `None` where there is none."""
        if instruction is None:
            return None
        return instruction.operations_per_second * prompt_tokens / self.operations(prompt_tokens)

    def decode_bound(self, memory_bytes_per_second: float, cached_bytes: float = 0.0) -> float | None:
        """Tokens a second, one by one, that the memory allows; each reads so many bytes of a cache, too."""
        if not memory_bytes_per_second:
            return None
        return memory_bytes_per_second / (self.bytes_per_token + cached_bytes)
