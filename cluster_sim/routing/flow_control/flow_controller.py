"""Flow control of one model: the decision on each arrival, and the requests that may leave the queue.

A pure state machine: whoever owns it tells it of dispatches, ends and samples, offers it arrivals and asks it for the
next request whenever its detector may have changed.
"""

from collections.abc import Sequence
from enum import IntEnum
from functools import partial
from typing import NamedTuple

from cluster_sim.recording.reasons import QUEUE_FULL
from cluster_sim.routing.flow_control.admission_options import AdmissionOptions
from cluster_sim.routing.flow_control.detector_interface import SaturationDetector, build_detector
from cluster_sim.routing.flow_control.fairness_interface import build_fairness
from cluster_sim.routing.flow_control.flow_queues import FlowQueues, QueuedRequest
from cluster_sim.routing.flow_control.ordering_interface import build_ordering
from cluster_sim.routing.flow_control.recent_times import RecentInterval, RecentMean
from cluster_sim.routing.flow_control.shedder_interface import Load, build_shedder
from cluster_sim.workload.request import Request


class Decision(IntEnum):
    """The decision about a request that arrives."""

    PASS = 0
    QUEUED = 1
    SHED = 2


class Answer(NamedTuple):
    """The decision, with the reason of one that is shed or the place of one that is queued."""

    decision: Decision
    reason: str = ""
    queued: QueuedRequest | None = None


_PASS = Answer(Decision.PASS)


class FlowController:
    """Queues, detector and shedders of one model."""

    def __init__(self, options: AdmissionOptions, seed: int) -> None:
        self.detector: SaturationDetector | None = None
        if options.detector is not None:
            self.detector = build_detector(options.detector)
        self._flow_by = options.flow_by
        self._queues_saturated = options.queues_saturated
        self._filters = options.filters_saturated
        ordering = build_ordering(options.ordering)
        self.queues = FlowQueues(options.queue, ordering, partial(build_fairness, options.fairness))
        self._shedders = [build_shedder(block, seed) for block in options.shedders]
        self._drains = RecentInterval()
        self._was_empty = True
        self._first_tokens = RecentMean()

    @property
    def observes_ends(self) -> bool:
        """Whether ``on_end`` must be called at the time when a response comes back."""
        counts = self.detector is not None and not self.detector.sampled_fields
        return counts or any(shedder.observes_first_tokens for shedder in self._shedders)

    # ------------------------------------------------------------------------------------------------------- notices

    def on_join(self, position: int) -> None:
        """Take in a new position."""
        if self.detector is not None:
            self.detector.on_join(position)

    def on_dispatch(self, position: int, request: Request) -> None:
        """Take in that a request was sent to ``position``."""
        if self.detector is not None:
            self.detector.on_dispatch(position, request)

    def on_end(self, position: int, request: Request) -> None:
        """Take in that an attempt has ended or was given up."""
        if self.detector is not None:
            self.detector.on_end(position, request)

    def note_first_token(self, duration_ns: int) -> None:
        """Take in the time that a first token has taken from the dispatch."""
        self._first_tokens.add(duration_ns)

    # ----------------------------------------------------------------------------------------------------- decisions

    def saturation(self, members: Sequence[int], now_ns: int) -> float:
        """Return how busy the members are; without a detector only no members at all are saturated."""
        if self.detector is None:
            return 0.0 if members else 1.0
        return self.detector.saturation(members, now_ns)

    def offer(self, request: Request, members: Sequence[int], now_ns: int, *, is_retry: bool = False) -> Answer:
        """Decide about a request that arrives, or comes again as a retry, which no shedder is asked about."""
        saturation = self.saturation(members, now_ns)
        if self._shedders and not is_retry:
            load = Load(saturation, self.queues.ahead_of(request), self._drains.mean_ns, self._first_tokens.mean_ns)
            for shedder in self._shedders:
                reason = shedder.reason(request, load, now_ns)
                if reason is not None:
                    return Answer(Decision.SHED, reason)
        if not len(self.queues) and (saturation < 1 or not self._queues_saturated):
            return _PASS
        if not self.queues.has_room(request):
            return Answer(Decision.SHED, QUEUE_FULL)
        return Answer(Decision.QUEUED, queued=self.queues.add(request, self._flow_of(request), now_ns))

    def _flow_of(self, request: Request) -> str:
        attributes = request.attributes
        if self._flow_by == "tenant":
            return attributes.tenant
        return f"{attributes.session_id:020d}" if self._flow_by == "session" else ""

    def next_request(self, members: Sequence[int], now_ns: int) -> Request | None:
        """Take the request out of the queue that may be sent now; None if nothing waits or members are saturated."""
        if not len(self.queues) or self.saturation(members, now_ns) >= 1:
            return None
        queued = self.queues.pop()
        assert queued is not None
        self._drains.add(now_ns, is_first=self._was_empty)
        self._was_empty = not len(self.queues)
        return queued.request

    def spared(self, members: Sequence[int], now_ns: int) -> Sequence[int]:
        """Return the members among which the policy may choose."""
        if self.detector is None or not self._filters:
            return members
        return self.detector.spared(members, now_ns)
