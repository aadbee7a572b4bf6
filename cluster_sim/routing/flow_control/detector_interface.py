"""Saturation detectors: the axis, its registry, and the interface of every detector.

A detector says how busy the replicas of one model are, as one figure that is 1 where they are saturated.  Requests then
wait at the router.  It counts what the router itself sends and gets back, or it reads samples of the replicas' state on
a grid of its own.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Final

from cluster_sim.options import ConfigModel
from cluster_sim.registry import Registry
from cluster_sim.serving.messages import Sample
from cluster_sim.workload.request import Request

DETECTORS: Final = Registry[type["SaturationDetector"]](
    "saturation detector",
    "cluster_sim.routing.flow_control.detectors",
    "cluster_sim.saturation_detectors",
    chooser="detector",
)
"""Detectors, each made from its options."""

if TYPE_CHECKING:
    DetectorBlock = ConfigModel
else:
    DetectorBlock = DETECTORS.annotation()


class SaturationDetector(ABC):
    """Measures how busy the replicas of one model are.

    Replicas are named by their positions, which only grow; ``on_join`` tells of each.
    """

    sampled_fields: ClassVar[tuple[str, ...]] = ()
    """The figures of a sample that ``on_sample`` reads; it is called if there are any."""
    period_ns: int = 0
    """The time between two samples, if it reads any."""
    latency_ns: int = 0
    """The time from a sample until it is visible."""

    def __init__(self, options: ConfigModel) -> None:
        """Start with no position; ``options`` are the part's own."""

    @abstractmethod
    def on_join(self, position: int) -> None:
        """Take in a new position, one more than the last."""

    def on_dispatch(self, position: int, request: Request) -> None:
        """Take in that the router has sent a request to ``position``."""

    def on_end(self, position: int, request: Request) -> None:
        """Take in that an attempt at ``position`` has ended or was given up."""

    def on_sample(self, position: int, sample: Sample) -> None:
        """Take in a sample that has become visible."""

    def on_silence(self, position: int, since_ns: int) -> None:
        """Take in that ``position`` answers no scrape from ``since_ns`` on; -1: it answers again."""

    @abstractmethod
    def saturation(self, members: Sequence[int], now_ns: int) -> float:
        """Return how busy ``members`` (ascending positions) are: 1 or more is saturated, and so are none at all."""

    @abstractmethod
    def spared(self, members: Sequence[int], now_ns: int) -> Sequence[int]:
        """Return the members that may take one more request, all of them if none may."""


def build_detector(options: ConfigModel) -> SaturationDetector:
    """Build the detector that a study's block chooses."""
    return DETECTORS.chosen_by(options).part(options)
