"""Precision of stored weights: the type of each part of a model, and the bits that a weight takes with its scales."""

from typing import Final

from pydantic import Field, field_validator

from cluster_sim.hardware.device import DTYPE_BYTES
from cluster_sim.hardware.layers.mixer import Part
from cluster_sim.hardware.library_model import LibraryModel

DTYPES: Final[dict[str, str]] = {
    "float16": "fp16",
    "bfloat16": "bf16",
    "float32": "fp32",
    "half": "fp16",
    "float8_e4m3fn": "fp8",
    **{name: name for name in ("fp32", "fp16", "bf16", "fp8", "int8", "fp4", "int4")},
}
"""Names of dtypes as configurations write them, and ours."""

_SCALE_BITS: Final[dict[str, float]] = {"fp4": 8 / 32, "int4": 16 / 128, "fp8": 0.0, "int8": 0.0}
"""Bits of scale per weight: MXFP4 has 8 bits per 32 weights, int4 16 bits per group of 128."""


def weight_bytes(dtype: str) -> float:
    """Return the bytes of one stored weight of ``dtype`` (our names), block scales included."""
    return DTYPE_BYTES[dtype] + _SCALE_BITS.get(dtype, 0.0) / 8


class PartPrecision(LibraryModel):
    """How the weights of one part are stored, and in which type their products are computed."""

    dtype: str = Field(description="Type of most weights: bf16, fp16, fp8, int8, fp4 or int4")
    bits: float = Field(
        gt=0, le=32, description="Bits a weight, scales and matrices that are not converted included: the mean"
    )
    arithmetic: str = Field(description="Type in which products are computed; weight-only formats have a wider one")

    @field_validator("dtype", "arithmetic")
    @classmethod
    def _check_dtype(cls, dtype: str) -> str:
        if dtype not in DTYPES:
            raise ValueError(f"unknown dtype {dtype!r}; known: {', '.join(DTYPES)}")
        return dtype


Precision = dict[Part, PartPrecision]
"""Precision by part; parts that are left out have the type of the activations."""
