"""Number formats of weights and KV, and the bytes that they take."""

from enum import Enum

from services.planner.hardware.unknown_name import unknown_name


class Precision(Enum):
    """How numbers are stored; the value is what flags and output call it."""

    FP16 = "fp16"
    BF16 = "bf16"
    FP8 = "fp8"
    INT8 = "int8"
    INT4 = "int4"

    @property
    def size_bytes(self) -> float:
        """Bytes of one number."""
        return _SIZES[self]

    @classmethod
    def parse(cls, text: str, flag: str) -> "Precision":
        """The format of that name; raises `BadSetting`, which names the nearest."""
        try:
            return cls(text.lower())
        except ValueError:
            raise unknown_name(flag, "precision", text, [each.value for each in cls]) from None


_SIZES = {
    Precision.FP16: 2.0,
    Precision.BF16: 2.0,
    Precision.FP8: 1.0,
    Precision.INT8: 1.0,
    Precision.INT4: 0.5,
}
