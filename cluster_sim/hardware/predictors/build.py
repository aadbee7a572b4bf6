"""Builds the predictor that a study names."""

from pathlib import Path
from typing import Any

from cluster_sim.errors import InputError
from cluster_sim.hardware.device import Device
from cluster_sim.hardware.engine_limits import limits_of
from cluster_sim.hardware.model import Model
from cluster_sim.hardware.predictors.base import Predictor
from cluster_sim.hardware.predictors.calibration import resolve_coefficients
from cluster_sim.hardware.predictors.linear import LinearPredictor
from cluster_sim.hardware.predictors.lockstep import LockstepPredictor
from cluster_sim.hardware.predictors.operator_profile import read_profile
from cluster_sim.hardware.predictors.options import LinearPredictor as LinearConfig
from cluster_sim.hardware.predictors.options import PhysicalPredictor as PhysicalConfig
from cluster_sim.hardware.predictors.options import Predictor as PredictorConfig
from cluster_sim.hardware.predictors.options import RooflinePredictor as RooflineConfig
from cluster_sim.hardware.predictors.options import SplitwisePredictor as SplitwiseConfig
from cluster_sim.hardware.predictors.options import TablePredictor as TableConfig
from cluster_sim.hardware.predictors.options import TwoPhasePredictor as TwoPhaseConfig
from cluster_sim.hardware.predictors.options import VidurTablesPredictor as VidurTablesConfig
from cluster_sim.hardware.predictors.physical import PhysicalPredictor
from cluster_sim.hardware.predictors.roofline import RooflinePredictor
from cluster_sim.hardware.predictors.splitwise import SplitwisePredictor, load_splitwise
from cluster_sim.hardware.predictors.table import Overheads, TablePredictor
from cluster_sim.hardware.predictors.two_phase import TwoPhasePredictor
from cluster_sim.hardware.predictors.vidur_files import load_vidur_tables
from cluster_sim.hardware.predictors.vidur_tables import VidurTablePredictor
from cluster_sim.hardware.sharding import ONE_RANK, ExpertLayout


def build_predictor(
    predictor_config: PredictorConfig | None,
    model: Model,
    device: Device,
    tensor_parallel: int = 1,
    pipeline_parallel: int = 1,
    engine: Any = None,
    experts: ExpertLayout = ONE_RANK,
) -> Predictor:
    """Return the predictor of one pool, whose data-parallel ranks, if there are several, step together.

    ``engine`` is the pool's engine block or an EngineLimits; None stands for the engine's defaults, as None for
    ``predictor_config`` stands for the roofline.  Raises InputError for wrong files, degrees or dtypes.
    """
    arguments = predictor_config, model, device, tensor_parallel, pipeline_parallel, engine
    if experts == ONE_RANK:
        return _build_rank(*arguments, experts)
    if not isinstance(predictor_config, RooflineConfig | PhysicalConfig | TableConfig | LinearConfig | None):
        raise InputError(
            f"predictor.kind: {predictor_config.kind} has measured whole replicas, not data-parallel ranks or unevenly "
            "used experts; use physical, roofline, table or linear, or leave data_parallel and expert_imbalance_ratio "
            "at 1"
        )
    if isinstance(predictor_config, TableConfig | LinearConfig) and experts.imbalance_ratio != 1:
        raise InputError(
            f"fleet.pools.expert_imbalance_ratio: predictor {predictor_config.kind} knows evenly used experts only; "
            "leave it at 1"
        )
    rank = _build_rank(*arguments, experts)
    return rank if experts.ranks == 1 else LockstepPredictor(rank, experts.ranks)


def _build_rank(
    predictor_config: PredictorConfig | None,
    model: Model,
    device: Device,
    tensor_parallel: int,
    pipeline_parallel: int,
    engine: Any,
    experts: ExpertLayout,
) -> Predictor:
    """Return the predictor of one rank."""
    match predictor_config:
        case PhysicalConfig():
            version = limits_of(engine, device).version
            profile, coefficients = resolve_coefficients(predictor_config.profile, device, version)
            return PhysicalPredictor(
                coefficients,
                model,
                device,
                tensor_parallel,
                pipeline_parallel,
                engine,
                label=f"physical ({profile.name})",
                is_measured=device.name in profile.measured_devices,
                error_band_percent=profile.provenance.cross_validation,
                experts=experts,
            )
        case VidurTablesConfig():
            tables = load_vidur_tables(Path(predictor_config.directory), predictor_config.prefix, pipeline_parallel)
            label = f"Vidur tables ({predictor_config.prefix})"
            return VidurTablePredictor(tables, model, tensor_parallel, pipeline_parallel, label)
        case TableConfig():
            overheads = Overheads(
                step_us=predictor_config.step_overhead_us,
                layer_us=predictor_config.layer_overhead_us,
                sequence_us=predictor_config.sequence_overhead_us,
                frontend_us=predictor_config.frontend_us,
                frontend_us_per_token=predictor_config.frontend_us_per_token,
            )
            measured = read_profile(Path(predictor_config.path))
            return TablePredictor(measured, model, device, tensor_parallel, pipeline_parallel, overheads, experts)
        case LinearConfig():
            return LinearPredictor(predictor_config, model, tensor_parallel, pipeline_parallel)
        case SplitwiseConfig():
            splitwise = load_splitwise(
                Path(predictor_config.path),
                predictor_config.measured_model,
                predictor_config.measured_hardware,
                tensor_parallel,
            )
            return SplitwisePredictor(splitwise, model, tensor_parallel, pipeline_parallel)
        case TwoPhaseConfig():
            return TwoPhasePredictor(predictor_config, tensor_parallel, pipeline_parallel)
        case _:
            return RooflinePredictor(model, device, tensor_parallel, pipeline_parallel, engine, experts=experts)
