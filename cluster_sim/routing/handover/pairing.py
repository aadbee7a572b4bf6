"""Pairing: the choice of a decode replica, of a prefill replica, and whether there are two at all."""

from cluster_sim.routing.handover.decider_interface import Decider, Situation
from cluster_sim.routing.policy_interface import Choice, RoutingPolicy
from cluster_sim.routing.prefix_index.approximate import ApproximatePrefixIndex
from cluster_sim.routing.request_states import TrackedRequest
from cluster_sim.routing.routes import Route
from cluster_sim.serving.kv_cache.content import content_of
from cluster_sim.serving.kv_cache.prefix_ranges import prefix_ranges
from cluster_sim.workload.request import Request


class Pairing:
    """Chooses the replicas of requests for which a fleet has pools of both kinds."""

    def __init__(self, decider: Decider) -> None:
        self._decider = decider
        self._indexes: dict[str, ApproximatePrefixIndex] = {}
        """What was sent to the decode replicas of each model."""

    def choose(
        self, tracked: TrackedRequest, route: Route, prefills: int, now_ns: int
    ) -> tuple[Choice, RoutingPolicy, RoutingPolicy]:
        """Return the positions that serve a request, and the policies that have chosen the decode and the prefill
        replica; ``prefills`` prompts are under way to others or computed by them.
        """
        request = tracked.request
        policy = route.policy_of(request)
        eligible = route.eligible(request)
        prefilling = self._able(route, tracked)
        if policy.chooses_pairs:
            decoding = range(len(route.targets)) if eligible is None else eligible
            choice = policy.choose_pair(request, now_ns, decoding, prefilling)
            return choice, policy, policy
        decode = policy.choose(request, now_ns, eligible)
        cached_tokens = self._cached_tokens(route, request, decode) if self._decider.reads_cache else 0
        prompt_tokens = request.prompt_tokens + tracked.resumed_tokens
        situation = Situation(prompt_tokens, cached_tokens, max(0, prefills - len(prefilling)))
        if not prefilling or not self._decider.hands_over(situation):
            return Choice(decode), policy, policy
        prefill_policy = route.prefill_policies[request.request_id % len(route.prefill_policies)]
        prefill = prefill_policy.choose(request, now_ns, prefilling)
        if prefill == decode:
            if prefill_policy.observes_responses:
                prefill_policy.on_end(prefill, request)
            return Choice(decode), policy, policy
        return Choice(decode, prefill), policy, prefill_policy

    @staticmethod
    def _able(route: Route, tracked: TrackedRequest) -> list[int]:
        """Return the positions that take prompts and can hold this one."""
        request = tracked.request
        prompt = Request(request.request_id, 0, request.prompt_tokens + tracked.resumed_tokens, 1)
        return [position for position in route.prefilling if route.targets[position].limits.can_run(prompt)]

    def _cached_tokens(self, route: Route, request: Request, decode: int) -> int:
        """Return the tokens of a prompt that the decode replica was sent before, and note that it gets this one."""
        block_size = route.candidates.members[decode].block_size
        index = self._indexes.setdefault(request.attributes.model, ApproximatePrefixIndex())
        while index.size <= decode:
            member = route.candidates.members[index.size]
            index.on_join(member.kv_blocks)
        ranges = prefix_ranges(content_of(request), request.prompt_tokens, block_size)
        matched = int(index.matched_blocks(ranges)[decode]) * block_size
        index.record(decode, ranges)
        return matched
