"""Routes: the replicas that serve one model, as the router sees them, and which of them take requests."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from cluster_sim.engine.observation import Observation, strictest
from cluster_sim.routing.admission import NOBODY, Admission, StaticLimits
from cluster_sim.routing.candidates import Candidate, Candidates
from cluster_sim.routing.policy_interface import RoutingPolicy
from cluster_sim.routing.scaling.traffic_split import TrafficSplit
from cluster_sim.workload.request import Request

PolicyFactory = Callable[[Candidates], RoutingPolicy]


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
    return_ns: int = 0
    decodes: bool = True
    """Whether it serves requests to their ends."""
    prefills: bool = False
    """Whether it computes prompts for others to go on with."""
    rank: int = -1
    """The data-parallel rank that takes its requests, where ranks are targets; -1 leaves that to the engine."""


class Route:
    """The replicas that serve one model, and the policies that choose among them.

    Each router has a policy of its own; a request's router is told by its id.  A replica takes requests while nothing
    blocks it.
    """

    def __init__(
        self,
        policy: PolicyFactory,
        targets: Sequence[Target],
        candidates: Candidates,
        *,
        routers: int = 1,
        prefill_policy: PolicyFactory | None = None,
    ) -> None:
        """``candidates`` describes the ``targets`` in their order.  ``prefill_policy`` chooses the replicas that
        compute prompts for others, if ``policy`` does not.
        """
        assert candidates.count == len(targets)
        self.targets = list(targets)
        self.candidates = candidates
        self.admission = Admission([target.limits for target in targets])
        self._factory = policy
        self.policies = [policy(candidates) for _ in range(routers)]
        self._prefill_factory = prefill_policy
        self.prefill_policies = [] if prefill_policy is None else [prefill_policy(candidates) for _ in range(routers)]
        self.all_policies = self.policies + self.prefill_policies
        """The policies of every router, those for prefill replicas included."""
        """Those that choose among prefill replicas, one for each router; none if nobody asks them."""
        self.split: TrafficSplit | None = None
        """Shares of the requests by pool, before the policy chooses."""
        self._blocked: set[int] = set()
        self._available: Sequence[int] | None = None
        """Positions that take requests, ascending; None if all do."""
        self._prefilling: Sequence[int] = ()
        self._able: dict[int, tuple[Sequence[int], Sequence[int]]] = {}
        """(able, able and available) by the identity of able, which ``Admission`` keeps."""
        self._refresh()

    @property
    def policy(self) -> RoutingPolicy:
        """The policy of the first router."""
        return self.policies[0]

    def policy_of(self, request: Request) -> RoutingPolicy:
        """Return the policy of the router that a request goes through."""
        policies = self.policies
        return policies[0] if len(policies) == 1 else policies[request.request_id % len(policies)]

    @property
    def has_prefill_pools(self) -> bool:
        """Whether some replicas only compute prompts."""
        return any(not target.decodes for target in self.targets)

    def add(self, target: Target, candidate: Candidate) -> int:
        """Add a replica that joins, blocked; return its position."""
        position = self.candidates.add(candidate, target.forward_ns)
        self.targets.append(target)
        self.admission.add(target.limits)
        self.block(position)
        for policy in self.all_policies:
            policy.on_join(position)
        return position

    def remove(self, position: int) -> None:
        """Take a replica out for ever."""
        self.block(position)
        for policy in self.all_policies:
            policy.on_leave(position)

    def reconfigure(self, policy: PolicyFactory) -> None:
        """Restart the routers with another policy or other options."""
        self._factory = policy
        self.restart_routers()

    def split_eligible(self, split: TrafficSplit, request: Request, eligible: Sequence[int] | None) -> Sequence[int]:
        """Return the eligible positions of the pool that a request draws."""
        positions = range(len(self.targets)) if eligible is None else eligible
        return split.narrowed(request, positions, self.targets)

    def restart_routers(self) -> None:
        """Build every policy anew: counts, indexes and histories are lost."""
        self.policies = [self._factory(self.candidates) for _ in self.policies]
        if self._prefill_factory is not None:
            self.prefill_policies = [self._prefill_factory(self.candidates) for _ in self.policies]
        self.all_policies = self.policies + self.prefill_policies

    def block(self, position: int) -> None:
        """Send no more requests to a position."""
        self._blocked.add(position)
        self._refresh()

    def unblock(self, position: int) -> None:
        """Let a position take requests again."""
        self._blocked.discard(position)
        self._refresh()

    def eligible(self, request: Request) -> Sequence[int] | None:
        """Return the positions that can serve the request to its end and take requests, ascending; None if all do.

        ``NOBODY`` if no replica can ever run it; another empty sequence if only now nobody takes it.
        """
        able = self.admission.eligible(request)
        available = self._available
        if available is None or able is NOBODY:
            return able
        if able is None:
            return available
        known = self._able.get(id(able))
        if known is None or known[0] is not able:
            takes = frozenset(available)
            found: Sequence[int] = [position for position in able if position in takes]
            if not found and not any(self.targets[position].decodes for position in able):
                found = NOBODY  # Only replicas for prompts could hold it.
            known = self._able[id(able)] = able, found
        return known[1]

    @property
    def available(self) -> Sequence[int]:
        """The positions that serve requests to their ends and take some, ascending."""
        return range(len(self.targets)) if self._available is None else self._available

    @property
    def prefilling(self) -> Sequence[int]:
        """The positions that compute prompts for others and take some, ascending."""
        return self._prefilling

    def _refresh(self) -> None:
        self._able.clear()
        open_positions = [position for position in range(len(self.targets)) if position not in self._blocked]
        decoding = [position for position in open_positions if self.targets[position].decodes]
        self._available = None if decoding and len(decoding) == len(self.targets) else decoding
        self._prefilling = [position for position in open_positions if self.targets[position].prefills]


def observed_by(
    routes: Iterable[Route], *, reacts: bool, times_out: bool, others: Iterable[Observation] = ()
) -> Observation:
    """Return what a router observes for its policies, a workload that ``reacts`` to ends, clients that time out, and
    ``others``.
    """
    routes = list(routes)
    observed = [route.policy.observation for route in routes]
    observed += [policy.observation for route in routes for policy in route.prefill_policies[:1]]
    observed.extend(others)
    if reacts:
        observed.append(Observation(responses=True, reacts=True))
    if times_out:
        observed.append(Observation(responses=True))
    return strictest(observed)
