"""Calibrated coefficients for one replica: how they get to its device and engine, and how far they can be trusted."""

from dataclasses import dataclass
from typing import Self

from cluster_sim.hardware.predictors.calibration_file import Calibration, OperatorRatios, operators_of
from cluster_sim.hardware.predictors.coefficients import Coefficients
from cluster_sim.hardware.predictors.error_band import BandCase, ErrorBand
from cluster_sim.hardware.predictors.error_band_file import error_band
from cluster_sim.hardware.predictors.measured_with import Kinship
from cluster_sim.hardware.replica_hardware import ReplicaHardware


@dataclass(frozen=True, slots=True)
class CalibratedSource:
    """A calibration resolved for a replica."""

    calibration: Calibration
    coefficients: Coefficients
    kinship: Kinship
    stand_in: str
    """Device by whose operators the coefficients were carried over; "" if there is none."""
    kernels: str
    """Engine whose kernels the coefficients are for."""
    has_kernels: bool
    """Whether these are the kernels of the replica's engine."""
    _hardware: ReplicaHardware

    @classmethod
    def of(cls, calibration: Calibration, hardware: ReplicaHardware) -> Self:
        """Resolve a calibration; raises InputError for wrong coefficients."""
        engine, device = hardware.engine, hardware.device
        operators = operators_of(calibration)
        kinship = Kinship(hardware, calibration.measured)
        kernels = engine.kernels if _knows(operators, engine.kernels) else calibration.engine
        is_own = kinship.has_kind or engine.kernels == calibration.engine or not calibration.measured
        return cls(
            calibration,
            calibration.resolve(device, engine.version if is_own else None, operators, kernels, hardware.expert_format),
            kinship,
            operators.nearest(device, kernels) if operators else "",
            kernels,
            kernels == engine.kernels,
            hardware,
        )

    @property
    def case(self) -> BandCase:
        """How far the replica's configuration lies from the measured ones."""
        return case_of(self.kinship, has_kernels=self.has_kernels, has_operators=bool(self.stand_in))

    @property
    def error_band(self) -> ErrorBand:
        """How far predictions may be off: as the case has shown, and at least as the fit misses its own data."""
        return error_band(self.case, self._hardware).at_least(self.calibration.missed_percent)

    @property
    def reason(self) -> str:
        """What the coefficients come from and what they were not measured with, in words."""
        calibration, near = self.calibration, self.kinship
        text = f"coefficients calibrated with {self.engines} ({calibration.name})"
        if near.is_covered:
            others = "" if near.has_model else ", with other models"
            return f"{text}, measured with this engine, device, architecture, precision and TP{others}"
        text += f"; not measured: {', '.join(near.unmeasured)}"
        if not near.device:
            text += f"; {self._way()}"
        elif near.own.engine and not near.has_kind:
            text += f"; with {self._kernels()}"
        return text

    @property
    def engines(self) -> str:
        """The engines that were measured, for example "vllm_v1 0.15, 0.23"."""
        by_kind: dict[str, list[str]] = {}
        for entry in self.calibration.measured:
            versions = by_kind.setdefault(entry.engine, [])
            if entry.version not in versions:
                versions.append(entry.version)
        texts = [f"{kind} {', '.join(versions)}" for kind, versions in by_kind.items()]
        return ", ".join(texts) or self.calibration.engine

    def _way(self) -> str:
        reference, device = self.calibration.reference_device, self.kinship.own.device
        if not self.stand_in:
            return f"as on {reference or 'the device measured'}, since no device of this architecture was measured"
        whose = "the device's own operators" if self.stand_in == device else f"the operators of {self.stand_in}"
        return f"carried over from {reference} by {whose} ({self._kernels()})"

    def _kernels(self) -> str:
        own = self.kinship.own.engine
        return f"{self.kernels}'s kernels" + ("" if self.has_kernels else f", as none of {own} were measured")


def _knows(operators: OperatorRatios | None, kernels: str) -> bool:
    return operators is not None and bool(kernels) and any(kernels in engines for engines in operators.devices.values())


def case_of(kinship: Kinship, *, has_kernels: bool, has_operators: bool) -> BandCase:
    """Return the case of a prediction.

    ``has_kernels`` and ``has_operators`` say whether operators of the engine, and of the device or one like it, were
    measured.
    """
    is_alike = kinship.has_kind and kinship.has_architecture and kinship.has_precision
    if not is_alike or not (kinship.has_engine or kinship.device):
        return BandCase.ENGINE_UNSEEN if has_kernels and has_operators else BandCase.NONE_KNOWN
    if not kinship.device:
        return BandCase.DEVICE_UNSEEN if has_operators else BandCase.NONE_KNOWN
    if not kinship.has_engine:
        return BandCase.VERSION_UNSEEN
    return BandCase.SEEN if kinship.has_model else BandCase.MODEL_OR_TP_UNSEEN
