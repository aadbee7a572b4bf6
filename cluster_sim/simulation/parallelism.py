"""Degrees of data and expert parallelism that a pool can have."""

from dataclasses import replace

from cluster_sim.config.schema.fleet import Pool
from cluster_sim.errors import InputError
from cluster_sim.hardware.model import Model
from cluster_sim.hardware.replica_hardware import ExpertSharding
from cluster_sim.serving.scheduler_limits import SchedulerLimits
from cluster_sim.serving.schedulers.engine_options import ENGINES
from cluster_sim.shown_values import counted


def check_ranks(pool: Pool, model: Model) -> None:
    """Raise InputError, which begins with the pool's key at fault, for degrees that engine or model cannot have."""
    engine, ranks = pool.engine, pool.data_parallel
    if ranks > 1 and not model.is_moe:
        raise InputError(
            f"data_parallel {ranks}: {model.name} has no experts to share, so its ranks would be servers of "
            f"their own; set replicas: {pool.replicas * ranks} instead"
        )
    if ranks > 1 and not ENGINES.get(engine.kind).part.has_ranks:
        able = ", ".join(entry.name for entry in ENGINES.entries() if entry.part.has_ranks)
        raise InputError(f"data_parallel {ranks}: {engine.kind} has no ranks; engines that have: {able}")
    if engine.prefill_interval > 1 and ranks == 1:
        raise InputError(
            f"engine.prefill_schedule_interval {engine.prefill_interval} aligns data-parallel ranks; leave it at 1 "
            "without them"
        )
    if pool.route_ranks and ranks == 1:
        raise InputError("route_ranks: a replica without ranks is one target; set data_parallel above 1, or false")
    _check_experts(pool, model)


def _check_experts(pool: Pool, model: Model) -> None:
    gpus, degree = pool.tensor_parallel * pool.data_parallel, pool.expert_parallel
    if degree > 1 and not model.is_moe:
        raise InputError(f"expert_parallel {degree}: {model.name} has no experts; leave it at 1")
    if degree not in {1, gpus}:
        raise InputError(
            f"expert_parallel {degree}: experts are spread over all GPUs of a stage, tensor_parallel "
            f"{pool.tensor_parallel} * data_parallel {pool.data_parallel}; set {gpus}, or 1 to slice them"
        )
    if degree > 1 and model.experts % degree:
        raise InputError(f"expert_parallel {degree} does not divide the {model.experts} experts of {model.name}")
    width = model.moe_intermediate_size or model.intermediate_size
    if degree == 1 and pool.data_parallel > 1 and width % gpus:
        raise InputError(
            f"data_parallel {pool.data_parallel}: experts of width {width} cannot be sliced over {gpus} GPUs; "
            f"set expert_parallel: {gpus}"
        )
    if degree == 1 and pool.expert_imbalance_ratio > 1:
        raise InputError(
            f"expert_imbalance_ratio {pool.expert_imbalance_ratio:g}: slices of experts are always in balance; "
            f"set expert_parallel: {gpus} or leave it at 1"
        )
    if pool.expert_imbalance_ratio > max(degree, 1):
        raise InputError(
            f"expert_imbalance_ratio {pool.expert_imbalance_ratio:g}: the busiest of {counted(degree, 'GPU')} can "
            f"have at most {counted(degree, 'time')} the mean"
        )


def expert_sharding(pool: Pool) -> ExpertSharding:
    """Return how the data-parallel ranks of a pool share its experts."""
    return ExpertSharding(pool.data_parallel, pool.expert_imbalance_ratio, pool.expert_parallel)


def rank_limits(limits: SchedulerLimits, ranks: int) -> SchedulerLimits:
    """Return the limits of each of ``ranks`` ranks; in a pipeline several step singly."""
    return limits if ranks == 1 else replace(limits, data_parallel=ranks, can_fast_forward_stages=False)


def replica_limits(limits: SchedulerLimits) -> SchedulerLimits:
    """Return the limits of a whole replica: the KV blocks of all ranks."""
    return replace(limits, kv_blocks=limits.kv_blocks * limits.data_parallel)
