"""Loads as the last visible samples show them, plus what the router itself has sent since.

A sample at S holds every delivery before S.  Own dispatches delivered at or after the newest visible sample are added,
so that one stale sample does not draw a whole period's requests to one replica.
"""

import heapq
from collections.abc import Sequence

from cluster_sim.engine.observation import Observation
from cluster_sim.routing.candidates import Candidates
from cluster_sim.routing.policy_parts.tied_minimum import TiedMinimum


class SampledLoads:
    """The load of each candidate, in whatever unit a policy counts: one dispatch adds 1."""

    def __init__(self, observation: Observation, candidates: Candidates, *, takes_first: bool) -> None:
        """``takes_first`` prefers the first among equals to a draw."""
        self._observation = observation
        self._forward_ns = candidates.forward_ns
        self._sampled = [0] * candidates.count
        self._sent = [0] * candidates.count
        self._loads = TiedMinimum(candidates.count, candidates.seed, takes_first=takes_first)
        self._since: list[tuple[int, int, int]] = []
        """(delivery time, position, amount) of own dispatches that no visible sample holds: a heap."""

    def grow(self, size: int) -> None:
        """Add loads of 0 until there are ``size``; the candidates' links have grown already."""
        added = size - len(self._sampled)
        self._sampled += [0] * added
        self._sent += [0] * added
        self._loads.grow(size)

    def dispatch(self, request_id: int, now_ns: int, eligible: Sequence[int] | None) -> int:
        """Return a position of the least load, among ``eligible`` ones if given, and add a dispatch to it."""
        chosen = self.least(request_id, now_ns, eligible)
        self.add(chosen, now_ns, 1)
        return chosen

    def least(self, request_id: int, now_ns: int, eligible: Sequence[int] | None) -> int:
        """Return a position of the least load, among ``eligible`` ones if given."""
        newest_ns = self._observation.newest_sample_ns(now_ns)
        since = self._since
        while since and since[0][0] < newest_ns:
            _, position, amount = heapq.heappop(since)
            self._sent[position] -= amount
            self._refresh(position)
        return self._loads.least(request_id, eligible)

    def add(self, position: int, now_ns: int, amount: int) -> None:
        """Add what a dispatch brings to a position, until a sample shows it."""
        heapq.heappush(self._since, (now_ns + self._forward_ns[position], position, amount))
        self._sent[position] += amount
        self._refresh(position)

    def set(self, position: int, load: int) -> None:
        """Take the load that a sample shows."""
        self._sampled[position] = load
        self._refresh(position)

    def _refresh(self, position: int) -> None:
        self._loads.set(position, self._sampled[position] + self._sent[position])
