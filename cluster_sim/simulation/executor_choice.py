"""Choice of the executor: the coupling factor of parallel simulation, and the speed that it predicts.

lambda = L E / (tau P) (Varga and others, "A practical efficiency criterion for the null message algorithm", 2003): the
work between two synchronisations, L E / P seconds of one process, over the time tau that a synchronisation takes.
Below 1 a parallel run is slower than one process whatever the number of cores; from 10 on it is worth its cores.
"""

import os
from dataclasses import dataclass
from typing import Final

from cluster_sim.engine.coordinator import RUN_AHEAD_SENDS
from cluster_sim.engine.observation import Observation
from cluster_sim.shown_values import counted
from cluster_sim.simulation.simulation import Simulation
from cluster_sim.units import NS_PER_S
from cluster_sim.workload.request import Request
from cluster_sim.workload.source import RequestSource

REQUESTS_PER_S: Final = 10_000.0
"""P: requests that one process simulates per wall second, between a fleet of 8 replicas and one of 1,024."""
ROUND_S: Final = 300e-6
"""Fixed part of tau: the hub's turn from the last reply to the next windows, and both ways over the sockets."""
ACTOR_S: Final = 150e-6
"""Part of tau for each actor that is called: packing, unpacking and waking up."""
HUB_SHARE: Final = 0.15
"""Share of the work that only the hub can do."""
START_S: Final = 8.0
"""Wall seconds that Ray and the actors take to start."""
LEAST_GAIN: Final = 1.2
"""Predicted speed-up below which the cores are better used by other runs."""


@dataclass(frozen=True, slots=True)
class ExecutorChoice:
    """An executor and why."""

    executor: str
    reason: str
    coupling_factor: float | None = None
    """lambda; None if it was not computed."""


def choose_executor(simulation: Simulation, cpus: int | None = None) -> ExecutorChoice:
    """Choose between ``inline`` and ``ray`` for a study that leaves it open.

    ``cpus`` are those of the cluster; by default the ones of this machine that the process may use.
    """
    cpus = len(os.sched_getaffinity(0)) if cpus is None else cpus
    observation = simulation.observation
    if observation.reacts:
        return ExecutorChoice("inline", "inline: requests follow from the ends of others, so replicas run in lockstep")
    rate = _request_rate(simulation)
    window_requests = _window_requests(simulation, observation, rate)
    actors = min(simulation.replicas, cpus)
    work_s = window_requests / REQUESTS_PER_S
    round_s = ROUND_S + actors * ACTOR_S
    factor = work_s / round_s
    gain = work_s / (work_s * (HUB_SHARE + (1.0 - HUB_SHARE) / actors) + round_s)
    known = f"coupling factor {factor:,.2f} ({counted(round(window_requests), 'request')} between two synchronisations)"
    if actors < 2 or gain < LEAST_GAIN:
        return ExecutorChoice(
            "inline", f"inline: {known}, {counted(actors, 'actor')} would be {gain:.2f} times as fast", factor
        )
    total = simulation.total_requests
    if total is not None and total / REQUESTS_PER_S * (1.0 - 1.0 / gain) < START_S:
        return ExecutorChoice("inline", f"inline: {known}, but the run is too short to start Ray for", factor)
    return ExecutorChoice("ray", f"ray: {known}, {actors} actors should be {gain:.2f} times as fast", factor)


def _request_rate(simulation: Simulation) -> float:
    """Return the requests per simulated second of the first few thousand: E."""
    source = simulation.source()
    assert isinstance(source, RequestSource), "a source that reacts has no rate of its own"
    chunk: list[Request] = next(source.chunks(), [])
    span_ns = chunk[-1].arrival_ns - chunk[0].arrival_ns if chunk else 0
    return len(chunk) * NS_PER_S / span_ns if span_ns else 0.0


def _window_requests(simulation: Simulation, observation: Observation, rate: float) -> float:
    """Return L E: requests that arrive between two synchronisations."""
    lookahead_ns = float("inf")
    if observation.is_instantaneous:
        return 1.0
    if observation.telemetry:
        lookahead_ns = observation.period_ns
    if observation.responses:
        cycle_ns = min(sum(pool.delays) + pool.floors.traversal_ns for pool in simulation.pools)
        lookahead_ns = min(lookahead_ns, cycle_ns)
    # Only a decision ever waits, so there is never more than about one synchronisation a request.
    return max(1.0, min(lookahead_ns * rate / NS_PER_S, RUN_AHEAD_SENDS)) if rate else 1.0
