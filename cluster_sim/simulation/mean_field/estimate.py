"""Mean-field estimate of a study: its requests spread over the pools, each pool carried through as a fluid.

Design.  The requests are those that a full run would see, from the same source.  They are dealt to the replicas in
turn, or to pools by weights along a sequence of low discrepancy, then in turn.  Ticks are a share of the time that a
request decodes at present, but as long as some requests take to arrive: where they hardly meet, ticks may be long.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from cluster_sim.config.schema.study import Study
from cluster_sim.errors import InputError
from cluster_sim.hardware.predictors.predictor_interface import Predictor
from cluster_sim.routing.policies.weighted import WeightedOptions
from cluster_sim.simulation.mean_field.covered import check_covered
from cluster_sim.simulation.mean_field.fluid_pool import FluidLimits, FluidPool, PoolLoad, Trajectory
from cluster_sim.simulation.mean_field.step_costs import StepCosts, mean_step_s
from cluster_sim.simulation.plan import Plan, PoolPlan, make_plan
from cluster_sim.units import NS_PER_S
from cluster_sim.workload.build import NO_REQUESTS, build_columns
from cluster_sim.workload.columns import Columns, concatenate

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

TICK_ARRIVALS: Final = 4
"""Requests that arrive in a tick at least, over all replicas of a pool."""
GOLDEN_RATIO: Final = 0.5 * (5**0.5 - 1)


@dataclass(frozen=True)
class PoolEstimate:
    """What the estimate says of one pool."""

    planned: PoolPlan
    predictor: Predictor
    costs: StepCosts
    load: PoolLoad
    numbers: Ints
    """Numbers of its requests among all."""
    trajectory: Trajectory

    @property
    def limits(self) -> FluidLimits:
        """What bounds the requests of a replica."""
        return fluid_limits(self.planned)

    @cached_property
    def most_rate_per_s(self) -> float:
        """Requests a second that a replica serves at most: the best over the sizes of its batch."""
        prompt, output = float(self.load.prompt_tokens.mean()), float(self.load.output_tokens.mean())
        held = prompt + output / 2
        most = max(1, int(min(self.limits.most_running, self.limits.kv_tokens / held)))
        running = np.unique(np.geomspace(1, most, 24).astype(np.int64))
        sizes = running.astype(np.float64)
        units_each = prompt / self.costs.unit_tokens
        # In balance a step starts as many requests as end in it.
        most_units = self.costs.most_units(sizes)
        units = np.minimum(sizes / max(output - 1, 1.0) * units_each, most_units)
        decode_s = self.costs.decode_s(running, np.full(len(running), held))
        step_s = mean_step_s(decode_s, self.costs.first_s(sizes), self.costs.further_s(sizes), units, most_units)
        return float((units / units_each / step_s).max())

    def load_ratio(self, start_s: float, end_s: float) -> float:
        """Return the rate of arrivals between two times over the highest that the pool serves."""
        arrived = int(np.searchsorted(self.load.arrival_s, [start_s, end_s]) @ [-1, 1])
        duration_s = end_s - start_s
        return arrived / duration_s / self.planned.pool.replicas / self.most_rate_per_s if duration_s > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Estimate:
    """What the estimate says of a study."""

    study: Study
    plan: Plan
    rows: Columns
    """The requests in order of arrival."""
    refused: int
    """Requests that no replica could run, which are among them."""
    pools: tuple[PoolEstimate, ...]


def estimate(study: Study) -> Estimate:
    """Estimate a study; raises InputError, which begins with the key, for what an estimate does not cover."""
    plan = make_plan(study)
    rows = concatenate(list(build_columns(study.workload, study.seed).columns()))
    if not len(rows):
        raise InputError(NO_REQUESTS)
    check_covered(study, plan, rows)
    can_run = _can_run(plan, rows)
    if not can_run.any():
        raise InputError("workload: no replica can run any of the requests, which are too long for it")
    numbers = np.flatnonzero(can_run)
    pool_of, replica_of = _deal(study, plan, len(numbers))
    pools = []
    for index, planned in enumerate(plan.pools):
        own = pool_of == index
        own_rows = rows.rows(numbers[own])
        load = PoolLoad(own_rows.arrival_ns / NS_PER_S, own_rows.prompt_tokens, own_rows.output_tokens, replica_of[own])
        pools.append(_pool_estimate(study, planned, load, numbers[own]))
    return Estimate(study, plan, rows, len(rows) - len(numbers), tuple(pools))


def fluid_limits(planned: PoolPlan) -> FluidLimits:
    """Return what bounds the requests that run on a replica of a pool."""
    limits = planned.limits
    return FluidLimits(limits.max_num_seqs, float(limits.kv_blocks * limits.block_size))


def _pool_estimate(study: Study, planned: PoolPlan, load: PoolLoad, numbers: Ints) -> PoolEstimate:
    if not len(numbers):
        raise InputError(f"router: pool {planned.pool.name!r} gets no request, of which an estimate says nothing")
    predictor, limits = planned.predictor(study), planned.limits
    costs = StepCosts(
        predictor,
        load.prompt_tokens,
        load.output_tokens,
        limits.max_num_batched_tokens,
        limits.max_num_seqs,
        mixes=_mixes(planned),
    )
    span_s = max(float(load.arrival_s[-1] - load.arrival_s[0]), 1e-9)
    fluid = FluidPool(load, planned.pool.replicas, costs, fluid_limits(planned))
    trajectory = fluid.run(TICK_ARRIVALS * span_s / len(numbers), study.run.end_s)
    return PoolEstimate(planned, predictor, costs, load, numbers, trajectory)


def _mixes(planned: PoolPlan) -> bool:
    """Return whether a step of the engine has decodes and prompts together."""
    engine = planned.pool.engine
    return engine.kind in ("vllm_v1", "sarathi") or bool(getattr(engine, "enable_mixed_chunk", False))


def _can_run(plan: Plan, rows: Columns) -> npt.NDArray[np.bool_]:
    """Return which requests fit an empty replica of every pool."""
    tokens = rows.prompt_tokens + rows.output_tokens
    fits = np.ones(len(rows), np.bool_)
    for planned in plan.pools:
        limits = planned.limits
        fits &= (tokens <= limits.max_model_len) & (-(-(tokens - 1) // limits.block_size) <= limits.kv_blocks)
    return fits


def _deal(study: Study, plan: Plan, count: int) -> tuple[Ints, Ints]:
    """Return the pool of each request, and its replica's number within that."""
    sizes = np.array([planned.pool.replicas for planned in plan.pools])
    weights = study.router.split or (study.router.weights if isinstance(study.router, WeightedOptions) else {})
    turns = np.arange(count)
    if not weights:
        fleet = turns % sizes.sum()
        pool_of = np.searchsorted(np.cumsum(sizes), fleet, side="right")
        return pool_of, fleet - (np.cumsum(sizes) - sizes)[pool_of]
    shares = np.array([weights.get(planned.pool.name, 0.0) for planned in plan.pools], np.float64)
    if not shares.sum():
        raise InputError("router.split: gives no pool a weight above 0")
    place = (turns + 1) * GOLDEN_RATIO % 1.0
    pool_of = np.minimum(np.searchsorted(np.cumsum(shares) / shares.sum(), place, side="right"), len(sizes) - 1)
    replica_of = np.zeros(count, np.int64)
    for index, size in enumerate(sizes.tolist()):
        own = pool_of == index
        replica_of[own] = np.arange(int(own.sum())) % size
    return pool_of, replica_of
