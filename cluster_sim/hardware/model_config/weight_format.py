"""Formats of quantised weights: type, bits with scales, and the type of the products."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class WeightFormat:
    """How a converted matrix is stored."""

    dtype: str
    """fp8, int8, fp4 or int4."""
    bits: float
    """Bits a weight, scales included."""
    arithmetic: str | None = None
    """Type of the products; None is that of the activations: the format is weight-only."""


def with_scales(bits: int, group: int, scale_bits: float) -> float:
    """Return the bits that a weight takes if each group of weights has a scale, or so little beside it that it does not
    count (``group`` 0 or -1: a row or the whole matrix).
    """
    return bits + scale_bits / group if group > 0 else float(bits)


NVFP4_BITS: Final = 4 + 8 / 16
"""A scale of 8 bits for 16 weights."""
MXFP4_BITS: Final = 4 + 8 / 32
MXFP8_BITS: Final = 8 + 8 / 32
"""A scale of 8 bits for 32 weights."""
FP8_BLOCK_BITS: Final = 8 + 32 / (128 * 128)
"""A scale of 32 bits for 128 x 128 weights."""
