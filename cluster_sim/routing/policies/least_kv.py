"""Least KV usage: the replica whose KV cache is emptiest, as telemetry shows it.

AIBrix's ``least-kv-cache`` (vllm-project/aibrix, pkg/plugins/gateway/algorithms); own dispatches that no sample
shows yet count with the blocks of their prompts.
"""

from collections.abc import Sequence
from typing import ClassVar, Final, Literal

from pydantic import Field

from cluster_sim.routing.candidates import Candidates
from cluster_sim.routing.options import RouterOptions
from cluster_sim.routing.policy_interface import ROUTING_POLICIES, RoutingPolicy
from cluster_sim.routing.policy_parts.sampled_loads import SampledLoads
from cluster_sim.serving.messages import Sample
from cluster_sim.workload.request import Request

_WHOLE: Final = 10**6
"""The load of a full KV cache: usages are compared to a millionth."""


class LeastKvOptions(RouterOptions):
    """The replica with the lowest share of KV blocks in use; reads telemetry."""

    policy: Literal["least_kv"] = Field("least_kv", description="Lowest share of KV blocks in use.")


@ROUTING_POLICIES.register("least_kv", LeastKvOptions)
class LeastKv(RoutingPolicy):
    """The candidate with the lowest KV usage."""

    sampled_fields: ClassVar = ("kv_used_ratio",)

    def __init__(self, options: LeastKvOptions, candidates: Candidates) -> None:
        super().__init__(options, candidates)
        self._loads = SampledLoads(self.observation, candidates, takes_first=options.ties == "first")

    def choose(self, request: Request, now_ns: int, eligible: Sequence[int] | None) -> int:
        """Return the position of the lowest usage."""
        chosen = self._loads.least(request.request_id, now_ns, eligible)
        member = self.candidates.members[chosen]
        blocks = -(-request.prompt_tokens // member.block_size)
        self._loads.add(chosen, now_ns, blocks * _WHOLE // max(member.kv_blocks, blocks))
        return chosen

    def on_join(self, position: int) -> None:
        """Start its load at none."""
        self._loads.grow(position + 1)

    def on_sample(self, position: int, sample: Sample) -> None:
        """Take the usage."""
        self._loads.set(position, round(sample.kv_used_ratio * _WHOLE))
