"""Devices: what an accelerator can do by its data sheet, loaded from ``conf/devices``."""

from collections.abc import Iterable
from typing import Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from cluster_sim.conf_directory import library_file, library_names
from cluster_sim.errors import InputError
from cluster_sim.hardware.library_file import load_mapping, validated
from cluster_sim.hardware.library_model import LibraryModel
from cluster_sim.suggestion import suggestion

DTYPE_BYTES: Final[dict[str, float]] = {
    "fp32": 4.0,
    "fp16": 2.0,
    "bf16": 2.0,
    "fp8": 1.0,
    "int8": 1.0,
    "fp4": 0.5,
    "int4": 0.5,
}
"""Bytes of one stored number; block scales of fp4 and int4 are added by the model, not here."""


LEAST_FLOPS: Final = 1e9
MOST_FLOPS: Final = 1e19
LEAST_SWEEP_S: Final = 1e-4
MOST_SWEEP_S: Final = 10.0
"""Bounds of how long reading the whole memory once takes; real accelerators need 0.01 to 0.2 s."""


class Interconnect(LibraryModel):
    """A link between the GPUs of one node."""

    kind: Literal["nvlink", "nvswitch", "pcie", "xgmi", "ici"] = Field(
        description="All but pcie join every GPU of a node with every other one"
    )
    bandwidth_bytes_per_s: float = Field(ge=1e6, le=1e15, description="Bandwidth per GPU in one direction")
    latency_us: float = Field(ge=0, le=1e6, description="Latency of one small collective, launch included")

    @property
    def joins_all(self) -> bool:
        """Whether such links join every GPU of a node with every other one."""
        return self.kind != "pcie"


class Network(LibraryModel):
    """The link between nodes."""

    bandwidth_bytes_per_s: float = Field(ge=1e6, le=1e15, description="Bandwidth per GPU in one direction")
    latency_us: float = Field(ge=0, le=1e6, description="Latency of one small message")


class Power(LibraryModel):
    """Power by operating point, as fractions of TDP; see ``energy.py`` for the form and the origin of the defaults."""

    idle_ratio: float = Field(default=0.15, ge=0, le=1, description="Weights loaded, nothing running")
    active_ratio: float = Field(default=0.29, ge=0, le=1, description="Kernels running, before memory and arithmetic")
    memory_ratio: float = Field(default=0.63, ge=0, le=2, description="Added at the full memory bandwidth")
    flops_ratio: float = Field(default=1.27, ge=0, le=3, description="Added at the full arithmetic rate")
    cap_ratio: float = Field(default=1.0, gt=0, le=1.2, description="The board never draws more")


class Device(LibraryModel):
    """An accelerator: capacities and peak rates from its data sheet, and a price."""

    name: str = Field(description="Name used in messages and tables; the file's name when left out")
    vendor_name: str = Field(default="", description="The vendor's product name")
    source: str = Field(default="", description="Where the figures come from")
    architecture: str = Field(description="Kernel class, e.g. ampere, ada, hopper, blackwell, cdna3, tpu")
    memory_bytes: int = Field(
        ge=10**8, le=10**14, description="Device memory as the driver reports it (total, in bytes)"
    )
    memory_bandwidth_bytes_per_s: float = Field(ge=1e9, le=1e15, description="Peak memory bandwidth")
    flops: dict[str, float] = Field(description="Peak dense operations per second by dtype, without sparsity")
    interconnect: Interconnect = Field(description="Link between the GPUs of a node")
    pcie: Interconnect | None = Field(
        default=None, description="Link between the GPUs of a node without NVLink, where the interconnect is another"
    )
    bridge: Interconnect | None = Field(
        default=None, description="NVLink bridge that joins two GPUs, on boards that take one"
    )
    network: Network = Field(
        default=Network(bandwidth_bytes_per_s=50e9, latency_us=10.0), description="Link between nodes, per GPU"
    )
    host_bandwidth_bytes_per_s: float = Field(
        default=25e9,
        ge=1e6,
        le=1e13,
        description="Rate of large copies between one GPU and host memory, in one direction",
    )
    gpus_per_node: int = Field(default=8, ge=1, le=1024, description="GPUs in one node")
    sm_count: int = Field(default=108, ge=1, le=100_000, description="Streaming multiprocessors or compute units")
    l2_bytes: int = Field(default=40_000_000, ge=0, description="Last-level cache")
    tdp_w: float = Field(ge=1, le=100_000, description="Thermal design power, W")
    power: Power = Field(default=Power(), description="Power by operating point")
    price_usd_per_hour: float = Field(ge=0, le=1e6, description="Price of one GPU for one hour, USD")
    price_source: str = Field(default="", description="Where the price comes from")

    @field_validator("flops")
    @classmethod
    def _names_dtypes(cls, flops: dict[str, float]) -> dict[str, float]:
        for dtype, rate in flops.items():
            if dtype not in DTYPE_BYTES:
                known = list(DTYPE_BYTES)
                raise ValueError(f"unknown dtype {dtype!r}{suggestion(dtype, known)}; known: {', '.join(known)}")
            if not LEAST_FLOPS <= rate <= MOST_FLOPS:
                raise ValueError(
                    f"{dtype}: must be from {LEAST_FLOPS:g} to {MOST_FLOPS:g} operations per second; got {rate!r}"
                )
        if not flops:
            raise ValueError("needs at least one dtype, for example fp16")
        return flops

    @model_validator(mode="after")
    def _check_sizes(self) -> Self:
        if self.l2_bytes >= self.memory_bytes:
            raise ValueError(f"l2_bytes: {self.l2_bytes} is not less than the memory's {self.memory_bytes} bytes")
        sweep_s = self.memory_bytes / self.memory_bandwidth_bytes_per_s
        if not LEAST_SWEEP_S <= sweep_s <= MOST_SWEEP_S:
            raise ValueError(
                f"memory_bandwidth_bytes_per_s: reading all {self.memory_bytes:,} bytes once would take {sweep_s:g} s; "
                f"{LEAST_SWEEP_S:g} to {MOST_SWEEP_S:g} s is possible: check the units, which are bytes"
            )
        if self.power.idle_ratio > self.power.active_ratio:
            raise ValueError(
                f"power: idle_ratio {self.power.idle_ratio:g} is above active_ratio {self.power.active_ratio:g}"
            )
        return self

    @model_validator(mode="after")
    def _check_links(self) -> Self:
        if self.pcie is not None and (self.pcie.kind != "pcie" or self.interconnect.kind == "pcie"):
            raise ValueError("pcie: is a link of kind pcie beside an interconnect of another kind")
        if self.bridge is not None and self.bridge.kind != "nvlink":
            raise ValueError("bridge: is a link of kind nvlink")
        return self

    @property
    def step_figures(self) -> tuple[object, ...]:
        """The figures that step times follow from: devices that agree in them are one, whatever they are called."""
        link = self.interconnect
        rates = tuple(sorted(self.flops.items()))
        return (
            self.architecture, self.memory_bandwidth_bytes_per_s, rates, link.bandwidth_bytes_per_s, link.latency_us
        )  # fmt: skip

    def peak_flops(self, dtype: str) -> float:
        """Return the peak rate in operations per second for ``dtype``; weights in a dtype the device lacks compute
        in the next wider one it has (fp8 weights on Ampere compute in fp16).
        """
        for candidate in (dtype, *_WIDER.get(dtype, ())):
            if candidate in self.flops:
                return self.flops[candidate]
        raise InputError(f"device {self.name}: no peak rate for dtype {dtype}; its file names {sorted(self.flops)}")


_WIDER: Final[dict[str, tuple[str, ...]]] = {
    "fp4": ("fp8", "fp16"),
    "int4": ("fp16",),
    "fp8": ("fp16",),
    "int8": ("fp16",),
    "bf16": ("fp16",),
    "fp16": ("bf16",),
    "fp32": (),
}


def load_device(name: str) -> Device:
    """Load a device by its name in ``conf/devices`` or by the path of a YAML file.

    Raises InputError when the name is unknown (the message lists the known ones) or the file is wrong.
    """
    path = library_file("devices", name)
    return validated(Device, {"name": path.stem, **load_mapping(path)}, path)


def known_as(device: Device, names: Iterable[str]) -> str:
    """Return the one of ``names`` whose device has the figures of ``device``, its own name first; "" if none has.

    A name that conf/devices lacks stands for a device of that name.
    """
    for name in sorted(names, key=lambda name: name != device.name):
        if name in device_names():
            if load_device(name).step_figures == device.step_figures:
                return name
        elif name == device.name:
            return name
    return ""


def device_names() -> list[str]:
    """Return the names of the devices in ``conf/devices``, sorted."""
    return library_names("devices")
