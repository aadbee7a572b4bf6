"""The predictor of a pool: the kind that a study names, for one rank or for all that step together."""

from cluster_sim.errors import InputError
from cluster_sim.hardware.predictors.lockstep import LockstepPredictor
from cluster_sim.hardware.predictors.predictor_interface import PREDICTORS, Predictor, PredictorBlock
from cluster_sim.hardware.replica_hardware import ReplicaHardware


def build_predictor(options: PredictorBlock, hardware: ReplicaHardware) -> Predictor:
    """Return the predictor of one pool; raise InputError for wrong files, or hardware that the kind cannot predict."""
    entry = PREDICTORS.chosen_by(options)
    experts = hardware.experts
    if (experts.ranks > 1 or experts.imbalance_ratio != 1) and not entry.part.models_ranks:
        raise InputError(
            f"predictor.kind: {entry.name} has measured whole replicas, not data-parallel ranks or unevenly used "
            f"experts; use {_kinds_that('models_ranks')}, or leave data_parallel and expert_imbalance_ratio at 1"
        )
    if experts.imbalance_ratio != 1 and not entry.part.models_imbalance:
        raise InputError(
            f"fleet.pools.expert_imbalance_ratio: predictor {entry.name} knows evenly used experts only; use "
            f"{_kinds_that('models_imbalance')}, or leave it at 1"
        )
    if hardware.topology is not None and hardware.gpus > 1 and not entry.part.models_links:
        raise InputError(
            f"node: predictor {entry.name} knows step times as measured, not what links make of them; use "
            f"{_kinds_that('models_links')}, or leave node.gpus, node.gpu_links and node.nic out"
        )
    if hardware.engine.enforce_eager and not entry.part.models_eager and entry.part.reads_hardware:
        raise InputError(
            f"engine.enforce_eager: predictor {entry.name} knows step times with CUDA graphs; use "
            f"{_kinds_that('models_eager')}, or leave it out"
        )
    rank = entry.part.build(options, hardware)
    return rank if experts.ranks == 1 else LockstepPredictor(rank, experts.ranks)


def check_power_cap(options: PredictorBlock, power_cap_w: float | None) -> None:
    """Raise InputError for a power cap where step times were measured without one."""
    entry = PREDICTORS.chosen_by(options)
    if power_cap_w is not None and not entry.part.models_power_caps:
        raise InputError(
            f"power_cap_w: predictor {entry.name} knows step times as measured, not what a cap makes of them; use "
            f"{_kinds_that('models_power_caps')}, or leave the cap out"
        )


def _kinds_that(capability: str) -> str:
    """Return the names of the kinds that have a capability, as an enumeration."""
    *others, last = [entry.name for entry in PREDICTORS.entries() if getattr(entry.part, capability)]
    return f"{', '.join(others)} or {last}" if others else last
