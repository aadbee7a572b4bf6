"""Proposals: every layout that the planner may choose, whether it fits, and what arithmetic says about it."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Final

from cluster_sim.config.schema.plan import PlanBlock
from cluster_sim.config.schema.study import Study
from cluster_sim.errors import InputError
from cluster_sim.hardware.device import device_names, load_device
from cluster_sim.simulation.plan import PoolPlan, make_plan
from cluster_sim.study.planning.fleet_choice import Fleet, Layout, fleet_study
from cluster_sim.study.planning.load_profile import LoadProfile
from cluster_sim.study.planning.screening import Screen, screen

LENGTH_STEP: Final = 256
"""Multiple of which a context is that a proposal shortens to the longest request."""
_NEEDS_SHORTER_CONTEXT: Final = re.compile(r"engine\.max_model_len")
_PIPELINE_DEGREES: Final = (1, 2)


@dataclass(frozen=True, slots=True)
class Proposal:
    """A layout with what is known of it before anything is simulated."""

    layout: Layout
    screen: Screen | None
    """None if the layout does not fit."""
    error: str = ""
    """Why it does not fit."""
    usd_per_replica_hour: float = 0.0
    tdp_w: float = 0.0
    """Of one replica."""
    token_budget: int = 0
    """Most tokens of a step."""
    nodes: int = 1
    """Of one replica."""

    @property
    def is_possible(self) -> bool:
        """Whether it is worth simulating at all."""
        return self.screen is not None and not self.screen.is_out_of_reach

    @property
    def need(self) -> float | None:
        """The load in replicas by arithmetic; None if that does not say."""
        return self.screen.need if self.screen is not None else None

    def replicas(self, correction: float = 1.0) -> float:
        """Return the replicas that the load needs, at least one, if arithmetic is off by the factor ``correction``."""
        return max(1.0, (self.need or 1.0) * correction)

    @property
    def usd_per_hour(self) -> float:
        """The price of the estimated fleet."""
        return math.ceil(self.replicas() - 1e-3) * self.usd_per_replica_hour


def proposals(base: Study, load: LoadProfile) -> list[Proposal]:
    """Return every layout of a study's plan, those that do not fit with the reason, in a fixed order."""
    return [_proposal(base, layout, load) for layout in _layouts(base)]


def _layouts(base: Study) -> Iterator[Layout]:
    block = base.plan or PlanBlock()
    template = base.fleet.pools[0]
    for device in block.devices or device_names():
        node = template.gpus_of_node(load_device(device).gpus_per_node)
        degrees = block.tensor_parallel or tuple(1 << power for power in range(node.bit_length()) if 1 << power <= node)
        for engine, tensor, pipeline in product(
            block.engines or (None,), degrees, block.pipeline_parallel or _PIPELINE_DEGREES
        ):
            chosen = None if engine == template.engine.kind else engine
            yield Layout(device, tensor, pipeline, chosen, data_parallel=template.data_parallel)


def _proposal(base: Study, layout: Layout, load: LoadProfile) -> Proposal:
    try:
        try:
            study, planned = _planned(base, layout)
        except InputError as error:
            shorter = math.ceil(load.longest_tokens / LENGTH_STEP) * LENGTH_STEP
            if base.fleet.pools[0].engine.max_model_len is not None or not _NEEDS_SHORTER_CONTEXT.search(str(error)):
                raise
            layout = replace(layout, max_model_len=shorter)
            study, planned = _planned(base, layout)
        predictor = planned.predictor(study)
    except InputError as error:
        return Proposal(layout, None, str(error))
    return Proposal(
        layout,
        screen(predictor, planned.limits, load, study.slo.all_limits()),
        usd_per_replica_hour=planned.usd_per_hour,
        tdp_w=planned.hardware.device.tdp_w * layout.gpus,
        token_budget=planned.limits.max_num_batched_tokens,
        nodes=math.ceil(layout.gpus / planned.pool.gpus_of_node(planned.hardware.device.gpus_per_node)),
    )


def _planned(base: Study, layout: Layout) -> tuple[Study, PoolPlan]:
    study = fleet_study(base, Fleet(layout, (1,)))
    return study, make_plan(study).pools[0]
