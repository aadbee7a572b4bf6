"""The best source of step times that there is for a replica, chosen when the predictor is built.

In this order: an operator profile measured with the replica's engine and version, device, model, precision and degree;
coefficients calibrated with its engine, on its device before others; coefficients calibrated with another engine,
carried over by the ratios of measured to data-sheet operator times of the device and the engine, or of the nearest
ones.  The data sheet alone is never chosen: ``roofline`` must be named.
"""

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from cluster_sim.conf_directory import library_path
from cluster_sim.hardware.library_file import load_mapping
from cluster_sim.hardware.predictors.calibrated_source import CalibratedSource
from cluster_sim.hardware.predictors.calibration_file import load_calibration
from cluster_sim.hardware.predictors.error_band import BandCase
from cluster_sim.hardware.predictors.error_band_file import error_band
from cluster_sim.hardware.predictors.kinds.physical import PhysicalPredictor
from cluster_sim.hardware.predictors.kinds.table import Overheads, TablePredictor
from cluster_sim.hardware.predictors.measured_with import profile_mismatch
from cluster_sim.hardware.predictors.operator_profile import ProfileInfo
from cluster_sim.hardware.predictors.predictor_interface import PREDICTORS, Predictor, PredictorOptions
from cluster_sim.hardware.replica_hardware import ReplicaHardware
from cluster_sim.options import InputFile


class AutoOptions(PredictorOptions):
    """The best source for the engine, device, model and degree: measured operators, else calibrated coefficients."""

    kind: Literal["auto"] = Field("auto", description="The best source that there is; the run says which, and why.")
    folder: InputFile | None = Field(
        None,
        description="Folder with operator profiles (Parquet) and calibrations (YAML) of your own, looked through "
        "before conf/profiles.",
    )


@PREDICTORS.register("auto", AutoOptions)
class AutoPredictor(Predictor):
    """Chooses; what it builds is a predictor of another kind."""

    models_ranks: ClassVar[bool] = True
    models_imbalance: ClassVar[bool] = True
    models_power_caps: ClassVar[bool] = True
    models_links: ClassVar[bool] = True
    models_eager: ClassVar[bool] = True

    @classmethod
    def build(cls, options: AutoOptions, hardware: ReplicaHardware) -> Predictor:
        """Return the predictor of the best source, which has the reason; raises InputError for files that are wrong."""
        folders = [Path(options.folder)] if options.folder else []
        folders.append(library_path("profiles"))
        source = best_calibration(folders, hardware)
        refusals = []
        for path in _files(folders, ".parquet"):
            from cluster_sim.hardware.predictors.operator_profile_file import read_profile_info

            why_not = _why_not(read_profile_info(path), hardware)
            if not why_not:
                return _measured(path, source, hardware)
            refusals.append(f"operator profile {path.name} {why_not}")
        predictor = PhysicalPredictor.of(source, hardware)
        predictor.choice = "; ".join([source.reason, *refusals])
        return predictor


def best_calibration(folders: list[Path], hardware: ReplicaHardware) -> CalibratedSource:
    """Return the calibration that is nearest to a replica: its engine's first, then by what was measured."""
    paths = [path for path in _files(folders, ".yaml") if load_mapping(path).get("kind") == "physical"]
    sources = [CalibratedSource.of(load_calibration(str(path)), hardware) for path in paths]
    cases = list(BandCase)
    return min(sources, key=lambda source: (not source.kinship.has_kind, cases.index(source.case)))


def _why_not(info: ProfileInfo, hardware: ReplicaHardware) -> str:
    """Return what keeps an operator profile from standing for a replica, as the end of a sentence; "" if nothing."""
    if hardware.experts.imbalance_ratio != 1:
        return "knows evenly used experts only"
    if hardware.engine.enforce_eager:
        return "was measured with CUDA graphs"
    if hardware.topology is not None:
        return "was measured on the links of the device, not on those of this pool's nodes"
    return profile_mismatch(info, hardware)


def _measured(path: Path, source: CalibratedSource, hardware: ReplicaHardware) -> Predictor:
    """Return the predictor of an operator profile, with the engine's own time per step as it was calibrated."""
    from cluster_sim.hardware.predictors.operator_profile_file import read_profile

    own = source.coefficients
    overheads = Overheads(step_us=own.step_us + own.gap_us, sequence_us=own.sequence_us + own.gap_sequence_us)
    predictor = TablePredictor(read_profile(path), hardware, overheads)
    predictor.choice = (
        f"operator profile {path.name}, measured with this engine, device, model, precision and TP; the engine's own "
        f"time from coefficients calibrated with {source.engines}"
    )
    predictor.error_band = error_band(BandCase.OPERATORS_SEEN, hardware)
    return predictor


def _files(folders: list[Path], suffix: str) -> list[Path]:
    """Return the files of the folders in their order, those of a folder by name."""

    def stem(path: Path) -> str:
        return path.stem

    return [path for folder in folders for path in sorted(folder.iterdir(), key=stem) if path.suffix == suffix]
