"""Ray Serve's power of two choices: of two replicas drawn at random the shorter queue that accepts.

Source: ray-project/ray, ``ray.serve._private.request_router.pow_2_router``.  A replica with ``max_ongoing_requests``
accepts none; the router then draws again after a back-off.  Queue lengths come from the router's own cache, which
its requests and their ends keep exact.  Here the redraws take no time, and if none finds a replica that accepts, the
shortest queue of all takes the request, which waits there.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from cluster_sim.routing.candidates import Candidates
from cluster_sim.routing.options import RouterOptions
from cluster_sim.routing.policy_interface import ROUTING_POLICIES, RoutingPolicy
from cluster_sim.routing.policy_parts.queue_pairs import QueuePairs
from cluster_sim.workload.request import Request


class RayServePowerOfTwoOptions(RouterOptions):
    """Ray Serve's router: the shorter of two random queues that accept; observes when requests end."""

    policy: Literal["ray_serve_power_of_two"] = Field(
        "ray_serve_power_of_two", description="Ray Serve's power of two choices."
    )
    max_ongoing_requests: int = Field(
        10**9, ge=1, le=10**9, description="Requests in flight at which a replica accepts no more (Serve LLM: 10^9)."
    )


@ROUTING_POLICIES.register("ray_serve_power_of_two", RayServePowerOfTwoOptions)
class RayServePowerOfTwo(RoutingPolicy):
    """The shorter of two queues that accept."""

    observes_responses: ClassVar = True

    def __init__(self, options: RayServePowerOfTwoOptions, candidates: Candidates) -> None:
        super().__init__(options, candidates)
        self._queues = QueuePairs(candidates, options.max_ongoing_requests, takes_first=options.ties == "first")

    def choose(self, request: Request, now_ns: int, eligible: Sequence[int] | None) -> int:
        """Return the position of the shorter queue, and count the request there."""
        positions = range(self.candidates.count) if eligible is None else eligible
        chosen = self._queues.choose(request.request_id, positions)
        self._queues.lengths[chosen] += 1
        return chosen

    def on_join(self, position: int) -> None:
        """Start its queue empty."""
        self._queues.lengths.append(0)

    def on_end(self, position: int, request: Request) -> None:
        """Count one request less."""
        self._queues.lengths[position] -= 1
