"""The learnt error bands of ``conf/profiles/error-bands.yaml``; ``scripts/learn_bands.py`` writes them."""

from typing import Final

from pydantic import Field

from cluster_sim.conf_directory import library_file
from cluster_sim.hardware.library_file import load_mapping, validated
from cluster_sim.hardware.library_model import LibraryModel
from cluster_sim.hardware.predictors.calibration_file import Provenance
from cluster_sim.hardware.predictors.error_band import BandCase, ErrorBand
from cluster_sim.hardware.predictors.measured_with import architecture_class, precision
from cluster_sim.hardware.replica_hardware import ReplicaHardware

FILE: Final = "error-bands"
NEAR_SATURATION: Final = "near_saturation"


class FigureBand(LibraryModel):
    """The band of one figure in one case, and the left-out runs behind it."""

    error_percent: float = Field(
        ge=0, lt=100, description="90th percentile of the absolute errors, in percent of the measured value"
    )
    values: int = Field(ge=1, description="Measured values outside the fit")
    held: int = Field(ge=0, description="Those among them from which the prediction was off by no more")


class ShownFor(LibraryModel):
    """What runs of engines that no coefficient was fitted to were measured with."""

    kernels: str = Field(description="Engine whose kernels ran")
    device_architecture: str = Field(description="Kernel class of the device")
    architecture: str = Field(description="Class of the model's architecture")
    precision: str = Field(description="Types of the weights")


class LearntBands(LibraryModel):
    """The file."""

    name: str = Field(description="Name in messages; the file's when left out")
    kind: str = Field(default="error_bands", pattern="^error_bands$", description="Form of the file")
    provenance: Provenance = Field(description="Where the figures come from")
    stated_ratio: float = Field(gt=0, lt=1, description="Share of measured values that a band is meant to hold")
    cases: dict[str, dict[str, FigureBand]] = Field(description="Bands by case and figure")
    engine_unseen: tuple[ShownFor, ...] = Field(description="What the case engine_unseen was shown for")

    def band(self, case: BandCase) -> ErrorBand:
        """Return the bands of a case; a figure without any stays unknown."""
        return ErrorBand(case, self._widths(case.value), self._widths(NEAR_SATURATION))

    def is_shown(self, hardware: ReplicaHardware) -> bool:
        """Return whether runs of unseen engines say anything about such a replica."""
        wanted = ShownFor(
            kernels=hardware.engine.kernels,
            device_architecture=hardware.device.architecture,
            architecture=architecture_class(hardware.model),
            precision=precision(hardware),
        )
        return wanted in self.engine_unseen

    def _widths(self, case: str) -> dict[str, float]:
        return {figure: band.error_percent for figure, band in self.cases.get(case, {}).items()}


def load_error_bands() -> LearntBands:
    """Read the file; InputError where it is wrong."""
    path = library_file("profiles", FILE)
    return validated(LearntBands, {"name": path.stem, **load_mapping(path)}, path)


def error_band(case: BandCase, hardware: ReplicaHardware) -> ErrorBand:
    """Return the learnt bands of a case; none where no left-out run was of the kind."""
    if case is BandCase.NONE_KNOWN:
        return ErrorBand(case)
    learnt = load_error_bands()
    if case is BandCase.ENGINE_UNSEEN and not learnt.is_shown(hardware):
        return ErrorBand(BandCase.NONE_KNOWN)
    return learnt.band(case)
