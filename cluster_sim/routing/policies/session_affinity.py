"""Session affinity: a session stays with the replica that served its last request.

Source of the rule: llm-d's session-affinity-scorer (llm-d/llm-d-inference-scheduler); cookies of web load balancers do
the same.  A session's first request, and one whose replica is not eligible, goes to the fewest requests in flight.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from cluster_sim.options import LONGEST_RUN_S
from cluster_sim.routing.candidates import Candidates
from cluster_sim.routing.options import RouterOptions
from cluster_sim.routing.policy_interface import ROUTING_POLICIES, RoutingPolicy
from cluster_sim.routing.policy_parts.remembered_sessions import RememberedSessions
from cluster_sim.routing.policy_parts.tied_minimum import TiedMinimum
from cluster_sim.units import NS_PER_S
from cluster_sim.workload.request import Request


class SessionAffinityOptions(RouterOptions):
    """The replica of the session's last request, else the fewest in flight; observes when requests end."""

    policy: Literal["session_affinity"] = Field("session_affinity", description="The session's last replica.")
    session_ttl_s: float | None = Field(
        None, gt=0, le=LONGEST_RUN_S, description="Time after which a session is forgotten; null keeps it for ever."
    )


@ROUTING_POLICIES.register("session_affinity", SessionAffinityOptions)
class SessionAffinity(RoutingPolicy):
    """The candidate that served the session's last request."""

    observes_responses: ClassVar = True

    def __init__(self, options: SessionAffinityOptions, candidates: Candidates) -> None:
        super().__init__(options, candidates)
        self._sessions = RememberedSessions(round((options.session_ttl_s or 0) * NS_PER_S))
        self._counts = TiedMinimum(candidates.count, candidates.seed, takes_first=options.ties == "first")

    def choose(self, request: Request, now_ns: int, eligible: Sequence[int] | None) -> int:
        """Return the session's position if it is eligible, else one with the lowest count, and remember it."""
        session_id = request.attributes.session_id
        chosen = self._sessions.position(session_id, now_ns)
        if chosen < 0 or (eligible is not None and chosen not in eligible):
            chosen = self._counts.least(request.request_id, eligible)
        self._sessions.remember(session_id, chosen, now_ns)
        self._counts.set(chosen, self._counts.counts[chosen] + 1)
        return chosen

    def on_join(self, position: int) -> None:
        """Start its count at none."""
        self._counts.grow(position + 1)

    def on_end(self, position: int, request: Request) -> None:
        """Count one request less."""
        self._counts.set(position, self._counts.counts[position] - 1)
