"""Saturation by what the router has in flight, as llm-d's concurrency detector counts it."""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from cluster_sim.options import ConfigModel
from cluster_sim.routing.flow_control.detector_interface import DETECTORS, SaturationDetector
from cluster_sim.workload.request import Request


class ConcurrencyOptions(ConfigModel):
    """Requests (or their tokens) in flight over what the replicas may have; observes when requests end."""

    kind: Literal["concurrency"] = "concurrency"
    counts: Literal["requests", "tokens"] = Field("requests", description="Unit that is counted in flight.")
    max_requests: int = Field(100, ge=1, le=1_000_000_000, description="Requests in flight that fill one replica.")
    max_tokens: int = Field(
        1_000_000, ge=1, le=1_000_000_000_000, description="Prompt and output tokens in flight that fill one replica."
    )
    headroom_ratio: float = Field(
        0.0, ge=0, le=1000, description="Share above its limit up to which a single replica still gets requests."
    )


@DETECTORS.register("concurrency", ConcurrencyOptions)
class Concurrency(SaturationDetector):
    """What is in flight over the capacity of all members.

    Source: llm-d-inference-scheduler 520af478, the concurrency detector: in flight / (endpoints x maxConcurrency), or
    tokens in flight / (endpoints x maxTokenConcurrency).
    """

    def __init__(self, options: ConcurrencyOptions) -> None:
        self._counts_tokens = options.counts == "tokens"
        self._capacity = options.max_tokens if self._counts_tokens else options.max_requests
        self._most = self._capacity * (1 + options.headroom_ratio)
        self._in_flight: list[int] = []

    def on_join(self, position: int) -> None:
        assert position == len(self._in_flight)
        self._in_flight.append(0)

    def on_dispatch(self, position: int, request: Request) -> None:
        self._in_flight[position] += self._size(request)

    def on_end(self, position: int, request: Request) -> None:
        self._in_flight[position] -= self._size(request)

    def _size(self, request: Request) -> int:
        return request.prompt_tokens + request.output_tokens if self._counts_tokens else 1

    def saturation(self, members: Sequence[int], now_ns: int) -> float:
        if not members:
            return 1.0
        return sum(self._in_flight[position] for position in members) / (len(members) * self._capacity)

    def spared(self, members: Sequence[int], now_ns: int) -> Sequence[int]:
        return [position for position in members if self._in_flight[position] < self._most] or members
