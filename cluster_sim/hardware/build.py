"""Builds the predictor that a study names."""

from typing import Any

from cluster_sim.config.errors import InputError
from cluster_sim.config.predictor import Predictor as PredictorConfig
from cluster_sim.config.predictor import RooflinePredictor as RooflineConfig
from cluster_sim.hardware.device import Device
from cluster_sim.hardware.model import Model
from cluster_sim.hardware.predictor import Predictor
from cluster_sim.hardware.roofline import RooflinePredictor


def build_predictor(
    predictor_config: PredictorConfig | None,
    model: Model,
    device: Device,
    tensor_parallel: int = 1,
    pipeline_parallel: int = 1,
    engine: Any = None,
) -> Predictor:
    """Return the predictor of one pool.

    ``engine`` is the pool's engine block or an EngineLimits; None stands for the engine's defaults, as None for
    ``predictor_config`` stands for the roofline.  Raises InputError for wrong files, degrees or dtypes.
    """
    if predictor_config is None or isinstance(predictor_config, RooflineConfig):
        return RooflinePredictor(model, device, tensor_parallel, pipeline_parallel, engine)
    raise InputError(f"predictor.kind {predictor_config.kind!r} is not known; known: roofline")
