"""Planning of fast-forwards: how many of the next steps decode one and the same batch, and when they end.

A plan survives until something changes the batch, so advancing in small windows costs no more than in one.
"""

from typing import Final

from cluster_sim.serving.cancellations import Cancellations
from cluster_sim.serving.fast_forward.data_parallel_decode import DataParallelDecode
from cluster_sim.serving.fast_forward.decode_pool import DecodePool
from cluster_sim.serving.fast_forward.interface import FastForwardScheduler
from cluster_sim.serving.fast_forward.pipelined_decode import PipelinedDecode, pipelined_steps
from cluster_sim.serving.fast_forward.planned_decode import PlannedDecode
from cluster_sim.serving.fast_forward.uniform_decode import UniformDecode
from cluster_sim.serving.pipeline import Pipeline
from cluster_sim.serving.schedulers.base import Scheduler
from cluster_sim.serving.step_state import StepState

MOST_TURNS: Final = 512
"""Turns of each batch that a plan for a pipeline holds at most: an arrival throws the rest of a plan away."""


class FastForwardPlanner:
    """Plans the fast-forwards of one replica.

    ``can_plan`` is False if it takes single steps only, and so it does if the scheduler offers nothing else.
    ``has_ranks`` says that several pools decode together.
    """

    __slots__ = ("_cancellations", "_clock", "_has_one_stage", "_has_ranks", "_pipeline", "_scheduler", "_steps")

    def __init__(
        self,
        steps: StepState,
        scheduler: Scheduler,
        pipeline: Pipeline,
        cancellations: Cancellations,
        *,
        can_plan: bool,
        has_ranks: bool,
    ) -> None:
        self._steps = steps
        self._scheduler = scheduler if can_plan and isinstance(scheduler, FastForwardScheduler) else None
        self._pipeline = pipeline
        self._cancellations = cancellations
        self._has_ranks = has_ranks
        self._clock = pipeline.clock
        self._has_one_stage = pipeline.stages == 1

    def plan(self) -> PlannedDecode | None:
        """Return the fast-forward that starts with the next batch, planned now if it is not yet; None if none can."""
        steps, scheduler = self._steps, self._scheduler
        if steps.is_planned:
            return steps.planned
        steps.is_planned = True
        if scheduler is not None:
            in_flight = steps.in_flight
            # A batch in flight that ends with a completion changes who decodes.
            if (not in_flight or in_flight[0][0] > steps.finishing_ns) and not self._cancellations.pending:
                if self._has_one_stage:
                    steps.planned = self._plan_decode(scheduler)
                else:
                    steps.planned = self._plan_pipelined_decode(scheduler)
        return steps.planned

    def _plan_decode(self, scheduler: FastForwardScheduler) -> PlannedDecode | None:
        """Return the next steps of one stage's pool, or of several pools if it has ranks."""
        in_flight, schedule_ns = self._steps.in_flight, self._steps.schedule_ns
        if len(in_flight) + (schedule_ns >= 0) != self._steps.depth:
            return None
        steps = scheduler.uniform_steps()
        if steps < 2:
            return None
        head_ns: tuple[int, ...] = (schedule_ns,) if schedule_ns >= 0 else ()
        for end_ns, _ in in_flight:  # One or two: a comprehension costs more.
            head_ns += (end_ns,)
        pools = scheduler.uniform_pools()
        if self._has_ranks:
            return self._plan_data_parallel_decode(scheduler, head_ns, pools, steps)
        (pool,) = pools
        steps_ns = self._pipeline.decode_run_ns(len(pool.members), pool.kv_tokens, steps)
        if self._clock is not None:
            steps_ns = self._clock.fit(max(head_ns[0], head_ns[-1]), steps_ns)
            if not len(steps_ns):
                return None
        return UniformDecode(
            head_ns, steps_ns, (pool,), scheduler, is_finishing=len(steps_ns) == pool.steps_to_finish()
        )

    def _plan_data_parallel_decode(
        self, scheduler: FastForwardScheduler, head_ns: tuple[int, ...], pools: list[DecodePool], steps: int
    ) -> DataParallelDecode | None:
        """Return the next ``steps`` steps that ranks make together."""
        steps_ns = self._pipeline.joint_run_ns(pools, steps)
        if steps_ns is not None and self._clock is not None:
            steps_ns = self._clock.fit(max(head_ns[0], head_ns[-1]), steps_ns)
        if steps_ns is None or not len(steps_ns):
            return None
        finish = min(pool.steps_to_finish() for pool in pools)
        return DataParallelDecode(head_ns, steps_ns, pools, scheduler, is_finishing=len(steps_ns) == finish)

    def _plan_pipelined_decode(self, scheduler: FastForwardScheduler) -> PipelinedDecode | None:
        """Return the next turns of the batches in a pipeline, and of the one about to be scheduled if there is one."""
        in_flight, schedule_ns = self._steps.in_flight, self._steps.schedule_ns
        if not in_flight:
            return None
        pools = scheduler.pipelined_pools()
        head_ns = [end_ns for end_ns, _ in in_flight]
        pool_ends = [pool.last_tokens.time_ns for pool in pools]
        is_whole = pool_ends == head_ns
        if not is_whole:
            # A batch in flight may hold no decode, only the first part of a prompt: then it does not come round again.
            if pool_ends[1:] != head_ns or not pool_ends[0] <= schedule_ns < head_ns[0]:
                return None
            head_ns = [schedule_ns, *head_ns]
        steps, is_finishing = pipelined_steps(pools, scheduler.spare_blocks(), MOST_TURNS * len(pools))
        if steps < 2:
            return None
        costs_ns = self._pipeline.pipelined_costs_ns(pools, steps)
        if self._clock is not None:
            costs_ns = self._clock.fit_stages(head_ns, self._pipeline.free_ns, costs_ns)
            if not len(costs_ns):
                return None
            is_finishing = is_finishing and len(costs_ns) == steps
        if is_whole:
            self._steps.schedule_ns = -1  # A slot may be free, but nobody is there to fill it.
        return PipelinedDecode(pools, head_ns, costs_ns, self._pipeline.free_ns, scheduler, is_finishing=is_finishing)
