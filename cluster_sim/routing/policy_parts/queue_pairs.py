"""Power of two choices as Ray Serve makes it: queues of two random replicas, drawn again while neither accepts."""

from collections.abc import Sequence
from typing import Final

from cluster_sim.routing.candidates import Candidates
from cluster_sim.routing.policy_parts.drawn_pairs import DrawnPairs
from cluster_sim.routing.policy_parts.tie_break import TieBreak

_MOST_DRAWS: Final = 16
"""Pairs that are drawn before all queues are compared."""


class QueuePairs:
    """The router's count of each replica's ongoing requests."""

    def __init__(self, candidates: Candidates, most_ongoing: int, *, takes_first: bool) -> None:
        """A replica with ``most_ongoing`` requests accepts no more."""
        self.lengths = [0] * candidates.count
        """Ongoing requests by position."""
        self._most_ongoing = most_ongoing
        self._pairs = DrawnPairs(candidates.seed)
        self._ties = TieBreak(candidates.seed, takes_first=takes_first)

    def choose(self, request_id: int, positions: Sequence[int]) -> int:
        """Return the shorter queue of the first pair in which one accepts, the first drawn if they are equal."""
        lengths = self.lengths
        for attempt in range(_MOST_DRAWS):
            first, second = self._pairs.draw(request_id, positions, attempt)
            chosen = second if lengths[second] < lengths[first] else first
            if lengths[chosen] < self._most_ongoing:
                return chosen
        return self.shortest(request_id, positions)

    def shortest(self, request_id: int, positions: Sequence[int]) -> int:
        """Return the shortest of some queues."""
        return self._ties.least(positions, self.lengths, request_id)
