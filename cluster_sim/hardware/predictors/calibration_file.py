"""Calibrations: fitted coefficients with the data and the command they came from, read from ``conf/profiles``."""

import math
from itertools import product
from typing import Final

from pydantic import Field

from cluster_sim.conf_directory import library_file
from cluster_sim.errors import InputError
from cluster_sim.hardware.device import Device, known_as, load_device
from cluster_sim.hardware.library_file import load_mapping, validated
from cluster_sim.hardware.library_model import LibraryModel
from cluster_sim.hardware.predictors.coefficients import Coefficients
from cluster_sim.hardware.predictors.measured_with import MeasuredWith
from cluster_sim.hardware.replica_hardware import SPREAD


class Provenance(LibraryModel):
    """Where fitted figures come from."""

    data: str = Field(default="", description="The measurements the figures were fitted to")
    command: str = Field(default="", description="The command that fitted them")
    date: str = Field(default="", description="When")
    notes: str = Field(default="", description="Remarks for readers")
    cross_validation: dict[str, float] = Field(
        default={}, description="Mean absolute errors in percent on data left out, by metric"
    )


class OperatorRatios(LibraryModel):
    """Ratios of measured operators to the data sheet, by device and engine; see ``scripts/fit_operators.py``."""

    name: str = Field(description="Name in messages; the file's when left out")
    kind: str = Field(default="operators", pattern="^operators$", description="Form of the file")
    provenance: Provenance = Field(default=Provenance(), description="Where the figures come from")
    devices: dict[str, dict[str, dict[str, float]]] = Field(description="Ratios by device and engine")

    def transfer(
        self,
        coefficients: dict[str, float],
        engine: str,
        measured: str,
        wanted: str,
        wanted_engine: str = "",
        expert_format: str = "",
    ) -> dict[str, float]:
        """Return coefficients fitted on the device ``measured``, carried over to the device ``wanted``, and from the
        kernels of ``engine`` to those of ``wanted_engine`` where that is another.

        Each rate is scaled by the operators' ratio between the two devices; latencies of all-reduces likewise.  What
        was not measured on both stays: efficiencies of kernels vary less than data-sheet rates do.  Experts go from the
        kernels of the format that was fitted to those of ``expert_format``, where both were measured.
        """
        here = self.devices.get(wanted, {}).get(wanted_engine or engine, {})
        there = self.devices.get(measured, {}).get(engine, {})
        experts = self.experts(wanted, wanted_engine or engine, expert_format)
        fitted = self.experts(measured, engine, FITTED_EXPERTS)
        if experts and fitted:
            here, there = {**here, **experts}, {**there, **fitted}
        carried = dict(coefficients)
        for name, operators in TRANSFERRED.items():
            for operator in operators if name in carried else ():
                keys = [key for key in here if key == operator or key.startswith(f"{operator}_tp")]
                factors = [here[key] / there[key] for key in keys if there.get(key)]
                if factors:
                    carried[name] *= sum(factors) / len(factors)
                    break
        return carried

    def experts(self, device: str, engine: str, expert_format: str) -> dict[str, float]:
        """Return the figures of experts stored in a format by their names without it; {} where they are not known.

        Whole experts that are spread over GPUs have figures of their own, or those of sliced ones.
        """
        names = (*EXPERT_FIGURES, "moe_flops_ratio")
        sliced = expert_format.removesuffix(SPREAD)
        for suffix in (expert_format, sliced) if sliced else ():
            found = {name: self.of_kernels(device, engine, f"{name}_{suffix}") for name in names}
            if all(found.values()):
                return found
        return {}

    def of_kernels(self, device: str, engine: str, figure: str) -> float:
        """Return a figure of a device: by the engine's kernels, else the mean of other engines', else 0."""
        by_engine = {name: own[figure] for name, own in self.devices.get(device, {}).items() if figure in own}
        if engine in by_engine or not by_engine:
            return by_engine.get(engine, 0.0)
        return sum(by_engine.values()) / len(by_engine)

    def nearest(self, device: Device, engine: str) -> str:
        """Return the device whose operators stand for ``device``: itself if it was measured, else the one with the
        nearest memory bandwidth, another architecture counting as a factor of 2; "" where its architecture is unknown.
        """
        measured = [name for name, engines in self.devices.items() if engine in engines]
        own = known_as(device, measured)
        if own:
            return own
        candidates = [load_device(name) for name in measured]
        if all(candidate.architecture != device.architecture for candidate in candidates):
            return ""

        def distance(candidate: Device) -> tuple[float, str]:
            bandwidths = candidate.memory_bandwidth_bytes_per_s / device.memory_bandwidth_bytes_per_s
            return abs(math.log2(bandwidths)) + (candidate.architecture != device.architecture), candidate.name

        return min(candidates, key=distance).name


TRANSFERRED: Final[dict[str, tuple[str, ...]]] = {
    "layer_us": ("projection_us",),
    "gemm_memory_ratio": ("gemm_memory_ratio",),
    "moe_memory_ratio": ("moe_memory_ratio", "gemm_memory_ratio"),
    "moe_layer_us": ("moe_us",),
    "kv_memory_ratio": ("kv_memory_ratio",),
    "gemm_flops_ratio": ("gemm_flops_ratio",),
    "attention_flops_ratio": ("attention_flops_ratio",),
    "all_reduce_us": ("all_reduce_us",),
    "all_reduce_ratio": ("all_reduce_ratio",),
}
"""Coefficients that follow a device's operators, and the operator each follows: the first that both devices have."""


BLOCK_FIGURES: Final[dict[str, str]] = {
    "latent_layer_us": "latent_us",
    "sparse_layer_us": "sparse_us",
    "state_flops_ratio": "state_flops_ratio",
    "all_to_all_us": "all_to_all_us",
}
"""Coefficients that were fitted nowhere and are the operators' own figures, by the operator."""
EXPERT_FIGURES: Final = ("moe_us", "moe_memory_ratio")
"""Operators of experts that coefficients follow."""
FITTED_EXPERTS: Final = "bf16"
"""Format of the experts that coefficients were fitted to."""
SHORT_DTYPES: Final = ("fp8", "fp4")
SHORT_RATIOS: Final = ("gemm_memory_ratio", "gemm_flops_ratio")
"""Coefficients that projections in these types have values of their own for: by the quotient of the operators of one
device.
"""


class Calibration(LibraryModel):
    """Coefficients of the physical step model for an engine, with overrides by engine version and device."""

    name: str = Field(description="Name in messages; the file's when left out")
    kind: str = Field(default="physical", pattern="^physical$", description="Form of the model")
    engine: str = Field(description="Engine measured, e.g. vllm")
    provenance: Provenance = Field(default=Provenance(), description="Where the figures come from")
    coefficients: dict[str, float] = Field(description="Fields of Coefficients that hold everywhere")
    architectures: dict[str, dict[str, float]] = Field(
        default={}, description="Overrides by the device's kernel class (hopper, ampere ...)"
    )
    devices: dict[str, dict[str, float]] = Field(
        default={}, description="Overrides by device name, which hold for devices that it stands for too"
    )
    versions: dict[str, dict[str, float]] = Field(
        default={}, description="Overrides by engine version: the greatest that is not above the engine's applies"
    )
    measured: tuple[MeasuredWith, ...] = Field(default=(), description="Configurations that were measured")
    missed_percent: dict[str, float] = Field(
        default={},
        description="Mean absolute errors in percent by which a refit misses its own measurements, by metric (ttft, "
        "tpot, e2e, step): the error bands of what was measured are at least as wide",
    )
    reference_device: str = Field(default="", description="Device that the common coefficients were fitted on")
    operators: str = Field(
        default="", description="Operator ratios (a name of conf/profiles) that carry them over to other devices"
    )

    def resolve(
        self,
        device: Device,
        engine_version: str | None = None,
        operators: OperatorRatios | None = None,
        engine: str = "",
        expert_format: str = "",
    ) -> Coefficients:
        """Return the coefficients for a device and an engine version, the more specific override last.

        With ``operators`` the common coefficients are first carried over from the reference device, by the operators of
        the nearest device where its own were not measured, and to the kernels of another ``engine``, whose sampler does
        not sort, and of experts stored in ``expert_format``.  Raises InputError that names the calibration and the
        wrong or missing coefficients.
        """
        merged = dict(self.coefficients)
        name = device.name
        if operators is not None and self.reference_device:
            engine = engine or self.engine
            name = operators.nearest(device, engine)
            is_elsewhere = (name, engine) != (self.reference_device, self.engine)
            expert_format = expert_format if is_elsewhere else ""
            merged = operators.transfer(merged, self.engine, self.reference_device, name, engine, expert_format)
            for coefficient, figure in BLOCK_FIGURES.items():
                merged.setdefault(coefficient, operators.of_kernels(name, engine, figure))
            if is_elsewhere:
                own = operators.devices.get(name, {}).get(engine, {})
                own = {**own, **operators.experts(name, engine, expert_format)}
                merged.setdefault("moe_flops_ratio", own.get("moe_flops_ratio", 0.0))
                for dtype in SHORT_DTYPES:
                    longer_us = own.get(f"projection_us_{dtype}", 0.0) - own.get("projection_us", 0.0)
                    merged.setdefault(f"scaled_projection_{dtype}_us", max(0.0, longer_us))
        merged.update(self.architectures.get(device.architecture, {}))
        merged.update(self.devices.get(known_as(device, self.devices) or name, {}))
        chosen = version_at_most(list(self.versions), engine_version)
        if chosen is not None:
            merged.update(self.versions[chosen])
        if operators is not None and self.reference_device:
            own = operators.devices.get(name, {}).get(engine, {})
            for ratio, dtype in product(SHORT_RATIOS, SHORT_DTYPES):
                short = ratio.replace("_ratio", f"_{dtype}_ratio")
                if ratio in own and short in own and ratio in merged:
                    merged.setdefault(short, merged[ratio] * own[short] / own[ratio])
        if engine and engine != self.engine:
            merged["sort_bytes_per_entry"] = 0.0
        unknown = sorted(set(merged) - set(Coefficients.model_fields))
        if unknown:
            known = ", ".join(Coefficients.model_fields)
            raise InputError(f"calibration {self.name}: unknown coefficients {', '.join(unknown)}; known: {known}")
        try:
            return Coefficients(**merged)
        except ValueError as error:
            raise InputError(f"calibration {self.name}: {error}") from None


def version_key(version: str) -> tuple[int, ...]:
    """Return a version's numbers for comparison: "0.15.1" -> (0, 15, 1); what is not a number ends it."""
    numbers: list[int] = []
    for part in version.lstrip("v").split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers)


def version_at_most(known: list[str], wanted: str | None) -> str | None:
    """Return the greatest known version not above ``wanted`` (the greatest of all for None), else the smallest."""
    if not known:
        return None
    ordered = sorted(known, key=version_key)
    if wanted is None:
        return ordered[-1]
    fitting = [version for version in ordered if version_key(version) <= version_key(wanted)]
    return fitting[-1] if fitting else ordered[0]


def load_calibration(name: str) -> Calibration:
    """Load a calibration by its name in ``conf/profiles`` or by path; InputError when unknown or wrong."""
    path = library_file("profiles", name)
    return validated(Calibration, {"name": path.stem, **load_mapping(path)}, path)


def load_operator_ratios(name: str) -> OperatorRatios:
    """Load operator ratios by their name in ``conf/profiles`` or by path; InputError when unknown or wrong."""
    path = library_file("profiles", name)
    return validated(OperatorRatios, {"name": path.stem, **load_mapping(path)}, path)


def resolve_coefficients(name: str, device: Device, engine_version: str | None) -> tuple[Calibration, Coefficients]:
    """Load a calibration, and its operator ratios if it names some; return it and its coefficients for a device."""
    calibration = load_calibration(name)
    return calibration, calibration.resolve(device, engine_version, operators_of(calibration))


def operators_of(calibration: Calibration) -> OperatorRatios | None:
    """Load the operator ratios that a calibration names; None if it names none."""
    return load_operator_ratios(calibration.operators) if calibration.operators else None
