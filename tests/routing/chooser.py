"""A policy under test: short ways to ask it, and to tell it what has happened."""

from collections.abc import Sequence
from typing import Any

from cluster_sim.routing.candidates import Candidate, Candidates
from cluster_sim.routing.policy_interface import ROUTING_POLICIES, RoutingPolicy, build_policy
from cluster_sim.workload.request import Attributes, Request

S = 1_000_000_000
MS = 1_000_000


class Chooser:
    """A policy with its requests, which are numbered from 0; of equal candidates the first is taken."""

    def __init__(self, name: str, members: int | Sequence[Candidate] = 3, **options: Any) -> None:
        chosen = ROUTING_POLICIES.get(name).options.model_validate({"ties": "first"} | options)
        listed = [Candidate(number) for number in range(members)] if isinstance(members, int) else members
        forward_ns = [MS if member.site == "far" else 0 for member in listed]
        self.policy: RoutingPolicy = build_policy(chosen, Candidates(len(listed), 1, forward_ns, listed))
        self.sent: list[tuple[Request, int]] = []

    def __call__(
        self,
        prompt: int | Sequence[tuple[int, int]] = 10,
        eligible: Sequence[int] | None = None,
        at_s: float = 0.0,
        **attributes: Any,
    ) -> int:
        """Return the position for a prompt of so many tokens, or of (segment, tokens)."""
        segments = () if isinstance(prompt, int) else tuple(prompt)
        tokens = prompt if isinstance(prompt, int) else sum(length for _, length in segments)
        now_ns = round(at_s * S)
        request = Request(len(self.sent), now_ns, tokens, 20, Attributes(segments=segments, **attributes))
        position = self.policy.choose(request, now_ns, eligible)
        self.sent.append((request, position))
        return position

    def end(self, number: int) -> None:
        """End a request."""
        request, position = self.sent[number]
        self.policy.on_end(position, request)

    def first_token(self, number: int) -> None:
        """Give a request its first token."""
        request, position = self.sent[number]
        self.policy.on_first_token(position, request)

    def join(self) -> int:
        """Add a replica; return its position."""
        candidates = self.policy.candidates
        position = candidates.add(Candidate(candidates.count), 0)
        self.policy.on_join(position)
        return position
