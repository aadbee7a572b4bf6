"""Session routing of the vLLM production-stack: a hash ring on the session key, else the lowest request rate.

Source: vllm-project/production-stack, ``vllm_router.routers.routing_logic``, ``SessionRouter``: a request without a
session key goes to the engine that was sent the fewest requests a second within the statistics window (60 s).
"""

from collections.abc import Sequence

from cluster_sim.routing.candidates import Candidates
from cluster_sim.routing.policy_parts.hash_ring import HashRing
from cluster_sim.routing.policy_parts.recent_requests import RecentRequests
from cluster_sim.routing.policy_parts.tie_break import TieBreak
from cluster_sim.workload.request import Request


class SessionRing:
    """The ring and the rates of one router."""

    def __init__(self, candidates: Candidates, virtual_nodes: int, window_ns: int, *, takes_first: bool) -> None:
        self._candidates = candidates
        self._ring = HashRing(virtual_nodes)
        self._recent = RecentRequests(0, window_ns)
        self._ties = TieBreak(candidates.seed, takes_first=takes_first)
        for position in range(candidates.count):
            self.add(position)

    def add(self, position: int) -> None:
        """Put a candidate on the ring."""
        self._recent.grow(position + 1)
        self._ring.add(position, f"replica {self._candidates.members[position].replica}")

    def choose(self, request: Request, now_ns: int, positions: Sequence[int]) -> int:
        """Return the position for a request, one of those given."""
        session_id = request.attributes.session_id
        if session_id >= 0:
            return next(position for position in self._ring.walk(f"session {session_id}") if position in positions)
        self._recent.forget(now_ns)
        return self._ties.least(positions, self._recent.counts, request.request_id)

    def note(self, position: int, now_ns: int) -> None:
        """Count a request that is sent to a position."""
        self._recent.forget(now_ns)
        self._recent.add(position, now_ns)
