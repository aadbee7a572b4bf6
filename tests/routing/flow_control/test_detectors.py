"""Saturation detectors against hand-worked figures."""

from pathlib import Path

import pytest

from cluster_sim.routing.flow_control.detector_interface import DETECTORS, SaturationDetector, build_detector
from cluster_sim.serving.messages import Sample
from cluster_sim.workload.request import Request
from tests.parts import every_name, example_options

MS = 1_000_000


def detector_of(kind: str, count: int, **options: object) -> SaturationDetector:
    entry = DETECTORS.get(kind)
    detector = build_detector(entry.options.model_validate({"kind": kind, **options}))
    for position in range(count):
        detector.on_join(position)
    return detector


def test_utilization_is_the_mean_of_the_larger_shares() -> None:
    """max(2 / 5, 0.4 / 0.8) = 0.5, max(10 / 5, 0.1 / 0.8) = 2 and 0: mean 2.5 / 3."""
    detector = detector_of("utilization", 3)
    detector.on_sample(0, Sample(0, 1, 2, 0.4))
    detector.on_sample(1, Sample(1, 1, 10, 0.1))
    assert detector.saturation(range(3), 60 * MS) == pytest.approx(2.5 / 3)
    assert detector.saturation([1], 60 * MS) == 2.0
    assert detector.saturation([0, 1], 60 * MS) == 1.25


def test_utilization_spares_what_is_above_its_thresholds() -> None:
    """A replica at 2 is left out, at 1.1 too without headroom; if every one is above, all may be chosen."""
    detector = detector_of("utilization", 3)
    detector.on_sample(1, Sample(1, 1, 10, 0.1))
    detector.on_sample(2, Sample(2, 1, 0, 0.88))
    assert detector.spared(range(3), 60 * MS) == [0]
    assert detector.spared([1, 2], 60 * MS) == [1, 2]
    roomy = detector_of("utilization", 3, headroom_ratio=0.2)
    roomy.on_sample(2, Sample(2, 1, 0, 0.88))
    assert roomy.spared(range(3), 60 * MS) == [0, 1, 2]


def test_a_silent_replica_counts_as_saturated_once_its_figures_are_stale() -> None:
    """Scraped every 50 ms; down from 120 ms on its last scrape is that of 100 ms, which is stale after 300 ms."""
    detector = detector_of("utilization", 2)
    detector.on_silence(0, 120 * MS)
    assert detector.saturation([0, 1], 300 * MS) == 0
    assert detector.saturation([0, 1], 300 * MS + 1) == 0.5
    detector.on_silence(0, -1)
    assert detector.saturation([0, 1], 400 * MS) == 0


def test_scrapes_that_are_too_rare_saturate_everything() -> None:
    """With a scrape each second and figures stale after 200 ms, figures count for 200 ms of each second."""
    detector = detector_of("utilization", 1, period_ms=1000, latency_ms=0)
    assert detector.saturation([0], 1200 * MS) == 0
    assert detector.saturation([0], 1300 * MS) == 1


def test_concurrency_counts_what_is_in_flight() -> None:
    """Three requests at two replicas of 2 each: 0.75; the one that is full is spared."""
    detector = detector_of("concurrency", 2, max_requests=2)
    for position in (0, 0, 1):
        detector.on_dispatch(position, Request(position, 0, 10, 5))
    assert detector.saturation([0, 1], 0) == 0.75
    assert detector.saturation([0], 0) == 1
    assert detector.spared([0, 1], 0) == [1]
    detector.on_end(0, Request(0, 0, 10, 5))
    assert detector.spared([0, 1], 0) == [0, 1]


def test_concurrency_in_tokens() -> None:
    """A request of 10 + 5 tokens fills 0.15 of 100."""
    detector = detector_of("concurrency", 1, counts="tokens", max_tokens=100)
    detector.on_dispatch(0, Request(0, 0, 10, 5))
    assert detector.saturation([0], 0) == 0.15


def test_total_concurrency_does_not_grow_with_the_fleet() -> None:
    """Two of at most four are 0.5, with one replica or three."""
    detector = detector_of("total_concurrency", 3, max_requests=4)
    detector.on_dispatch(0, Request(0, 0, 1, 1))
    detector.on_dispatch(2, Request(1, 0, 1, 1))
    assert detector.saturation([0], 0) == detector.saturation([0, 1, 2], 0) == 0.5
    assert detector_of("total_concurrency", 1).saturation([0], 0) == 0


@every_name(DETECTORS)
def test_every_detector_starts_idle_and_gives_back_what_it_takes(name: str, tmp_path: Path) -> None:
    """Without load the saturation is 0; after as many ends as dispatches it is again."""
    detector = build_detector(example_options(DETECTORS, name, tmp_path))
    for position in range(3):
        detector.on_join(position)
    assert detector.saturation(range(3), 0) == 0
    requests = [Request(number, 0, 7 + number, 3) for number in range(20)]
    for request in requests:
        detector.on_dispatch(request.request_id % 3, request)
    for request in requests:
        detector.on_end(request.request_id % 3, request)
    assert detector.saturation(range(3), 60 * MS) == 0
    assert list(detector.spared(range(3), 60 * MS)) == [0, 1, 2]
