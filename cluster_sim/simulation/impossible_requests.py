"""Requests that no replica can ever run, counted before a run by the rule by which the router refuses them."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from cluster_sim.config.schema.study import Study
from cluster_sim.recording.reasons import NO_MODEL, NO_REASON
from cluster_sim.recording.statuses import REFUSED
from cluster_sim.routing.admission import NOBODY, Admission
from cluster_sim.routing.roles import can_decode
from cluster_sim.simulation.simulation import Simulation
from cluster_sim.workload.build import build_source
from cluster_sim.workload.feedback.instant_service import InstantService
from cluster_sim.workload.request import Request
from cluster_sim.workload.sampling.random_streams import BLOCK
from cluster_sim.workload.source import SERVED, FeedbackSource

SAMPLE: Final = BLOCK
"""First requests that are looked at in any case."""
MOST: Final = 1_000_000
"""Most requests that are looked at, while none can run."""


@dataclass(slots=True)
class FirstRequests:
    """What becomes of the first requests of a study, whatever its load."""

    looked_at: int = 0
    is_all: bool = False
    """Whether the study has no others."""
    impossible: Counter[str] = field(default_factory=Counter)
    """Requests that no replica can ever run, by the reason."""

    @property
    def none_can_run(self) -> bool:
        """Whether no replica can run one of those looked at."""
        return 0 < self.looked_at == self.impossible.total()


def first_requests(study: Study, simulation: Simulation) -> FirstRequests:
    """Look at the first requests of a study: at more than ``SAMPLE`` only while none can run, at ``MOST`` at the most.

    Those of a workload that reacts are as if each were served, or refused, the moment it arrives.
    """
    refusals = _Refusals(simulation)
    found, end_ns = FirstRequests(), simulation.metadata.end_ns
    for request in _requests(study, refusals):
        if 0 <= end_ns <= request.arrival_ns:
            break
        if found.looked_at >= (MOST if found.none_can_run else SAMPLE):
            return found
        found.looked_at += 1
        if reason := refusals.reason(request):
            found.impossible[reason] += 1
    found.is_all = True
    return found


class _Refusals:
    """Says why the router refuses a request, with every pool that the fleet has or comes to have."""

    def __init__(self, simulation: Simulation) -> None:
        pools = simulation.pools
        self._default = simulation.metadata.default_model
        self._serving = {
            model: Admission([pool.static_limits for pool in pools if pool.model == model and can_decode(pool.role)])
            for model in {pool.model for pool in pools}
        }

    def reason(self, request: Request) -> str:
        """Return the reason; ``NO_REASON`` if some replica can run the request."""
        admission = self._serving.get(request.attributes.model or self._default)
        if admission is None:
            return NO_MODEL
        return admission.reason(request) if admission.eligible(request) is NOBODY else NO_REASON


def _requests(study: Study, refusals: _Refusals) -> Iterator[Request]:
    source = build_source(study.workload, study.seed)
    if isinstance(source, FeedbackSource):
        yield from InstantService(source, lambda request: REFUSED if refusals.reason(request) else SERVED).requests()
    else:
        for chunk in source.chunks():
            yield from chunk
