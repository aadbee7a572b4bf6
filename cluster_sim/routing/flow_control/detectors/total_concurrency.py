"""Saturation by one limit on all requests in flight, as SGLang's router has it."""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from cluster_sim.options import ConfigModel
from cluster_sim.routing.flow_control.detector_interface import DETECTORS, SaturationDetector
from cluster_sim.workload.request import Request


class TotalConcurrencyOptions(ConfigModel):
    """Requests in flight at all replicas together over a fixed limit; observes when requests end."""

    kind: Literal["total_concurrency"] = "total_concurrency"
    max_requests: int = Field(256, ge=1, le=1_000_000_000, description="Most requests in flight at all replicas.")


@DETECTORS.register("total_concurrency", TotalConcurrencyOptions)
class TotalConcurrency(SaturationDetector):
    """All requests in flight over a limit that does not grow with the fleet.

    Source: sgl-router 083d6013, max_concurrent_requests; with queue.max_requests: 100 and queue.time_to_live_s: 60 it
    is that router's middleware with its defaults.
    """

    def __init__(self, options: TotalConcurrencyOptions) -> None:
        self._max_requests = options.max_requests
        self._in_flight = 0

    def on_join(self, position: int) -> None:
        """Do nothing: the limit is one for all."""

    def on_dispatch(self, position: int, request: Request) -> None:
        self._in_flight += 1

    def on_end(self, position: int, request: Request) -> None:
        self._in_flight -= 1

    def saturation(self, members: Sequence[int], now_ns: int) -> float:
        return self._in_flight / self._max_requests

    def spared(self, members: Sequence[int], now_ns: int) -> Sequence[int]:
        return members
