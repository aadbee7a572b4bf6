"""Routes: the replicas that serve one model, as the router sees them."""

from collections.abc import Iterable
from dataclasses import dataclass

from cluster_sim.engine.observation import Observation, strictest
from cluster_sim.routing.admission import Admission, StaticLimits
from cluster_sim.routing.policy_interface import RoutingPolicy


@dataclass(frozen=True, slots=True)
class Target:
    """A replica as the router sees it."""

    source: int
    """One more than the replica's number, which counts from 0 over the whole fleet."""
    pool: str
    forward_ns: int
    limits: StaticLimits
    fills_batches: bool = False
    """Whether it must be told when no more requests come, because it waits for them."""


@dataclass(frozen=True, slots=True)
class Route:
    """The replicas that serve one model, and the policy that chooses among them."""

    policy: RoutingPolicy
    targets: list[Target]
    admission: Admission
    """Says which targets can run a request."""


def observed_by(routes: Iterable[Route], *, reacts: bool, times_out: bool) -> Observation:
    """Return what a router observes for its policies, a workload that ``reacts`` to ends, and clients that time out."""
    observed = [route.policy.observation for route in routes]
    if reacts:
        observed.append(Observation(responses=True, reacts=True))
    if times_out:
        observed.append(Observation(responses=True))
    return strictest(observed)
