"""Consistent hashing with bounded loads: a key keeps its replica unless that has more than its share.

Source: V. Mirrokni, M. Thorup, M. Zadimoghaddam, "Consistent Hashing with Bounded Loads", SODA 2018: walk the ring from
the key to the first server whose load + 1 is at most ceil(c (total + 1) / n).
"""

import math
from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from cluster_sim.routing.candidates import Candidates
from cluster_sim.routing.options import RouterOptions
from cluster_sim.routing.policy_interface import ROUTING_POLICIES, RoutingPolicy
from cluster_sim.routing.policy_parts.hash_ring import HashRing
from cluster_sim.serving.kv_cache.content import content_of
from cluster_sim.workload.request import Request


class ConsistentHashOptions(RouterOptions):
    """The replica behind a key on a hash ring, within a bound of its load; observes when requests end."""

    policy: Literal["consistent_hash"] = Field("consistent_hash", description="A hash ring with bounded loads.")
    key: Literal["session", "tenant", "prefix"] = Field(
        "session", description="What is hashed; a request without it is hashed by its own id."
    )
    prefix_tokens: int = Field(
        256, ge=1, le=10**9, description="Tokens from the start of the prompt that the key `prefix` names."
    )
    load_factor: float = Field(1.25, ge=1, le=1e6, description="Most load of a replica, over the mean.")
    virtual_nodes: int = Field(100, ge=1, le=10_000, description="Points of each replica on the ring.")


@ROUTING_POLICIES.register("consistent_hash", ConsistentHashOptions)
class ConsistentHash(RoutingPolicy):
    """The first candidate behind the key whose load is within the bound."""

    observes_responses: ClassVar = True

    def __init__(self, options: ConsistentHashOptions, candidates: Candidates) -> None:
        super().__init__(options, candidates)
        self._kind = options.key
        self._prefix_tokens = options.prefix_tokens
        self._load_factor = options.load_factor
        self._ring = HashRing(options.virtual_nodes)
        self._counts: list[int] = []
        for position in range(candidates.count):
            self.on_join(position)

    def choose(self, request: Request, now_ns: int, eligible: Sequence[int] | None) -> int:
        """Return the first position on the ring whose load allows one more request."""
        counts = self._counts
        positions = range(len(counts)) if eligible is None else eligible
        total = sum(counts) if eligible is None else sum([counts[position] for position in positions])
        most = math.ceil(self._load_factor * (total + 1) / len(positions))
        allowed = positions if eligible is None else frozenset(positions)
        # Somebody is not above the mean, so the walk always ends at an answer.
        chosen = next(
            position
            for position in self._ring.walk(self._key_of(request))
            if position in allowed and counts[position] < most
        )
        counts[chosen] += 1
        return chosen

    def on_join(self, position: int) -> None:
        """Put it on the ring."""
        self._counts.append(0)
        self._ring.add(position, f"replica {self.candidates.members[position].replica}")

    def on_end(self, position: int, request: Request) -> None:
        """Count one request less."""
        self._counts[position] -= 1

    def _key_of(self, request: Request) -> str:
        attributes = request.attributes
        if self._kind == "session" and attributes.session_id >= 0:
            return f"session {attributes.session_id}"
        if self._kind == "tenant" and attributes.tenant:
            return f"tenant {attributes.tenant}"
        if self._kind == "prefix":
            content = content_of(request)
            tokens = min(self._prefix_tokens, request.prompt_tokens)
            pieces = [(stream, start, min(end, tokens)) for stream, start, end in content.pieces if start < tokens]
            return f"prefix {content.namespace} {pieces}"
        return f"request {request.request_id}"
