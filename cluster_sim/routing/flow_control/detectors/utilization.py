"""Saturation by queues and KV usage of the replicas, as llm-d's flow control reads them from scraped metrics."""

from collections.abc import Sequence
from typing import ClassVar, Final, Literal

from pydantic import Field

from cluster_sim.options import MS_PER_DAY, ConfigModel
from cluster_sim.routing.flow_control.detector_interface import DETECTORS, SaturationDetector
from cluster_sim.serving.messages import Sample
from cluster_sim.units import NS_PER_MS

_SCALE: Final = 1_000_000_000
"""Scores are whole parts of a billion, so that their sum does not depend on the order of updates."""


class UtilizationOptions(ConfigModel):
    """The mean over replicas of max(waiting / threshold, KV usage / threshold); a stale replica counts as 1."""

    kind: Literal["utilization"] = "utilization"
    queue_depth_threshold: int = Field(5, ge=1, le=1_000_000, description="Waiting requests that fill a replica.")
    kv_usage_threshold: float = Field(0.8, gt=0, le=1, description="KV usage at which a replica is full.")
    stale_after_ms: float = Field(
        200.0, gt=0, le=MS_PER_DAY, description="Age from which figures of a replica count as saturated."
    )
    headroom_ratio: float = Field(
        0.0, ge=0, le=1000, description="Share above its thresholds up to which a single replica still gets requests."
    )
    period_ms: float = Field(50.0, gt=0, le=MS_PER_DAY, description="Time between two scrapes.")
    latency_ms: float = Field(1.0, ge=0, le=MS_PER_DAY, description="Time from a scrape until the router can use it.")


@DETECTORS.register("utilization", UtilizationOptions)
class Utilization(SaturationDetector):
    """Mean utilisation of the scraped replicas.

    Source: llm-d-inference-scheduler 520af478, the utilisation detector: pool saturation is the mean over endpoints of
    max(waiting / queueDepthThreshold, KV usage / kvCacheUtilThreshold), 1 for an endpoint without fresh metrics.
    """

    sampled_fields: ClassVar = ("waiting", "kv_used_ratio")

    def __init__(self, options: UtilizationOptions) -> None:
        self._queue_depth = options.queue_depth_threshold
        self._kv_usage = options.kv_usage_threshold
        self._stale_ns = round(options.stale_after_ms * NS_PER_MS)
        self._most = round((1 + options.headroom_ratio) * _SCALE)
        self.period_ns = round(options.period_ms * NS_PER_MS)
        self.latency_ns = round(options.latency_ms * NS_PER_MS)
        self._scores: list[int] = []
        self._silent_ns: dict[int, int] = {}
        """Since when positions that answer no scrape have not."""

    def on_join(self, position: int) -> None:
        assert position == len(self._scores)
        self._scores.append(0)

    def on_sample(self, position: int, sample: Sample) -> None:
        kv_usage = round(sample.kv_used_ratio / self._kv_usage * _SCALE)
        self._scores[position] = max(sample.waiting * _SCALE // self._queue_depth, kv_usage)

    def on_silence(self, position: int, since_ns: int) -> None:
        if since_ns < 0:
            self._silent_ns.pop(position, None)
        else:
            self._silent_ns.setdefault(position, since_ns)

    def _score(self, position: int, now_ns: int) -> int:
        """Return the utilisation of one replica in parts of a billion."""
        visible_ns = (now_ns - self.latency_ns) // self.period_ns * self.period_ns
        """When the newest visible scrape was made."""
        since_ns = self._silent_ns.get(position)
        if since_ns is not None and since_ns <= visible_ns:
            # The last scrape that was answered.
            visible_ns = -(-since_ns // self.period_ns) * self.period_ns - self.period_ns
        return _SCALE if now_ns - visible_ns > self._stale_ns and now_ns > self._stale_ns else self._scores[position]

    def saturation(self, members: Sequence[int], now_ns: int) -> float:
        if not members:
            return 1.0
        return sum(self._score(position, now_ns) for position in members) / (len(members) * _SCALE)

    def spared(self, members: Sequence[int], now_ns: int) -> Sequence[int]:
        return [position for position in members if self._score(position, now_ns) <= self._most] or members
