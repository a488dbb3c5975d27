"""Small closed sets of values: precisions, model sizes, devices."""

import enum
from dataclasses import dataclass
from typing import ClassVar, Literal

from ruvllm.backends.registry import present_devices
from ruvllm.errors import ConfigError

__all__ = ["DeviceType", "ModelSize", "Precision", "Quantization"]


class BytesPerElement(float):
    """A number of bytes, which may also be called, as the documents do: it is then itself."""

    __slots__ = ()

    def __call__(self) -> "BytesPerElement":
        return self


class Precision(enum.Enum):
    """How a number is stored.

    >>> Precision.Q4K.bytes_per_element, Precision.Q4K.bytes_per_element()
    (0.5625, 0.5625)
    """

    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"
    Q8 = "q8"
    Q4 = "q4"
    Q4K = "q4k"

    @property
    def bytes_per_element(self) -> BytesPerElement:
        """Bytes a value costs, the scales of its block counted."""
        return BytesPerElement(_BYTES_PER_ELEMENT[self])

    @property
    def tensor_type(self) -> str:
        """The GGUF tensor type that stores it: `Q4_K`, `F16`, ..."""
        return _TENSOR_TYPES[self]


# Bytes of a block over the values in it: Q8_0 is 34 / 32, Q4_0 is 18 / 32, Q4_K is 144 / 256.
_BYTES_PER_ELEMENT = {
    Precision.FP32: 4.0,
    Precision.FP16: 2.0,
    Precision.BF16: 2.0,
    Precision.Q8: 34 / 32,
    Precision.Q4: 18 / 32,
    Precision.Q4K: 144 / 256,
}
_TENSOR_TYPES = {
    Precision.FP32: "F32",
    Precision.FP16: "F16",
    Precision.BF16: "BF16",
    Precision.Q8: "Q8_0",
    Precision.Q4: "Q4_0",
    Precision.Q4K: "Q4_K",
}

Quantization = Precision
"""The other name that the documents use for `Precision`."""


class ModelSize(enum.Enum):
    """Classes of models by their number of parameters.

    >>> ModelSize.from_parameters(7_000_000_000)
    <ModelSize.Medium: 'medium'>
    """

    Tiny = "tiny"  # below 1 billion
    Small = "small"  # 1 to 3 billion
    Medium = "medium"  # 3 to 13 billion
    Large = "large"  # above 13 billion

    @classmethod
    def from_parameters(cls, num_parameters: int) -> "ModelSize":
        """The class of a model with so many parameters; 1 and 3 billion belong above, 13 billion below."""
        if num_parameters < 0:
            raise ConfigError(f"num_parameters is {num_parameters}; it must be 0 or more")
        if num_parameters < 1_000_000_000:
            return cls.Tiny
        if num_parameters < 3_000_000_000:
            return cls.Small
        return cls.Medium if num_parameters <= 13_000_000_000 else cls.Large


@dataclass(frozen=True, slots=True)
class DeviceType:
    """Where a model runs: `DeviceType.Cpu`, `DeviceType.Metal` or `DeviceType.Cuda(0)`.

    >>> DeviceType.auto()
    DeviceType.Cpu
    >>> DeviceType.Cuda(1).is_present
    False
    """

    kind: Literal["cpu", "metal", "cuda"]
    index: int = 0

    Cpu: ClassVar["DeviceType"]
    Metal: ClassVar["DeviceType"]

    def __post_init__(self) -> None:
        if self.kind not in ("cpu", "metal", "cuda"):
            raise ConfigError(f"the device kind is {self.kind!r}; it must be 'cpu', 'metal' or 'cuda'")
        if self.index < 0 or (self.kind != "cuda" and self.index):
            raise ConfigError(f"the index of a {self.kind} device is {self.index}; only cuda has any above 0")

    @staticmethod
    def Cuda(index: int = 0) -> "DeviceType":  # noqa: N802 - the documented name
        """The CUDA device with this index."""
        return DeviceType("cuda", index)

    @staticmethod
    def auto() -> "DeviceType":
        """The best device of the native backend."""
        return DeviceType.Cpu

    @staticmethod
    def present() -> tuple["DeviceType", ...]:
        """The devices that are here and that a backend can use, those of the native one first."""
        return tuple(dict.fromkeys(one for devices in present_devices().values() for one in devices))

    @property
    def is_present(self) -> bool:
        """Whether this device is here and a backend can use it."""
        return self == DeviceType.Cpu or self in DeviceType.present()

    def require(self) -> None:
        """Raise `ConfigError` where this device is not present."""
        if not self.is_present:
            there = [f"{one!r} ({name})" for name, devices in present_devices().items() for one in devices]
            raise ConfigError(f"device is {self!r}, which is not present here; present: {', '.join(there)}")

    def __repr__(self) -> str:
        return f"DeviceType.Cuda({self.index})" if self.kind == "cuda" else f"DeviceType.{self.kind.title()}"


DeviceType.Cpu = DeviceType("cpu")
DeviceType.Metal = DeviceType("metal")
