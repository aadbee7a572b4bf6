# ruff: noqa: ARG002 - the contract
"""A routing policy that counts prompts at work: it observes first tokens, as no more than the engine's tests need."""

from collections.abc import Sequence
from typing import ClassVar

from cluster_sim.routing.candidates import Candidates
from cluster_sim.routing.options import RouterOptions
from cluster_sim.routing.policy_interface import RoutingPolicy
from cluster_sim.workload.request import Request


class FewestPrefills(RoutingPolicy):
    """The first candidate with the fewest requests that have no token yet, then with the fewest in flight."""

    observes_responses: ClassVar = True
    observes_first_tokens: ClassVar = True

    def __init__(self, options: RouterOptions, candidates: Candidates) -> None:
        super().__init__(options, candidates)
        self._prefilling: list[set[int]] = [set() for _ in range(candidates.count)]
        self._sent = [0] * candidates.count

    def choose(self, request: Request, now_ns: int, eligible: Sequence[int] | None) -> int:
        """Return the position, and count the request there."""
        among = range(len(self._sent)) if eligible is None else eligible
        chosen = min(among, key=lambda position: (len(self._prefilling[position]), self._sent[position], position))
        self._prefilling[chosen].add(request.request_id)
        self._sent[chosen] += 1
        return chosen

    def on_join(self, position: int) -> None:
        """Start at none."""
        self._prefilling.append(set())
        self._sent.append(0)

    def on_first_token(self, position: int, request: Request) -> None:
        """Count a prompt less."""
        self._prefilling[position].remove(request.request_id)

    def on_end(self, position: int, request: Request) -> None:
        """Count a request less, and its prompt if that had not come to an end."""
        self._prefilling[position].discard(request.request_id)
        self._sent[position] -= 1
