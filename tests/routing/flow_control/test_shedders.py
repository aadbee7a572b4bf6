"""Shedders by hand."""

from typing import Any

import pytest

from cluster_sim.routing.flow_control.shedder_interface import SHEDDERS, Load, Shedder, build_shedder
from cluster_sim.routing.flow_control.shedders.probabilistic import Probabilistic
from cluster_sim.workload.request import Attributes, Request

MS = 1_000_000


def shedder_of(kind: str, **options: Any) -> Shedder:
    return build_shedder(SHEDDERS.get(kind).options.model_validate({"kind": kind, **options}), 7)


def load(saturation: float = 0.0, queued: int = 0, drain_ns: int | None = None, first_ns: int | None = None) -> Load:
    return Load(saturation, queued, drain_ns, first_ns)


def request(number: int = 0, priority: int = 0, slo_class: str = "") -> Request:
    return Request(number, 0, 10, 5, Attributes(priority=priority, slo_class=slo_class))


def test_sheddable_requests_go_at_a_saturation_of_one() -> None:
    """Only priorities above 0 are shed, and only from a saturation of 1 on."""
    shedder = shedder_of("sheddable")
    assert shedder.reason(request(priority=1), load(1.0), 0) == "shed_saturation"
    assert shedder.reason(request(priority=1), load(0.999), 0) is None
    assert shedder.reason(request(priority=0), load(2.0), 0) is None
    assert shedder.reason(request(priority=-1), load(2.0), 0) is None


@pytest.mark.parametrize(
    ("saturation", "probability"), [(0.0, 0.0), (0.1, 0.003), (0.2, 0.096), (0.3, 0.729), (0.32, 1.0), (5.0, 1.0)]
)
def test_the_probability_grows_with_the_fifth_power(saturation: float, probability: float) -> None:
    """min(1, 300 x saturation^5)."""
    shedder = shedder_of("probabilistic")
    assert isinstance(shedder, Probabilistic)
    assert shedder.probability(saturation) == pytest.approx(probability)


def test_draws_shed_that_share() -> None:
    """At 0.2 about 9.6 % of the sheddable requests are shed, none of the others; the same ones each time."""
    shedder = shedder_of("probabilistic")
    shed = [number for number in range(5000) if shedder.reason(request(number, 1), load(0.2), 0)]
    assert 400 < len(shed) < 560
    again = shedder_of("probabilistic")
    assert [number for number in reversed(range(5000)) if again.reason(request(number, 1), load(0.2), 0)] == shed[::-1]
    assert not any(shedder.reason(request(number), load(1.0), 0) for number in range(100))
    everybody = shedder_of("probabilistic", sheds_all=True)
    assert all(everybody.reason(request(number), load(1.0), 0) for number in range(100))


def test_what_cannot_keep_its_target_is_shed() -> None:
    """Ten wait at 20 ms each and the first token takes 90 ms: 290 ms, above a target of 250 ms, below one of 300 ms."""
    shedder = shedder_of("slo_aware", targets={"ttft_s": 0.3, "classes": [{"slo_class": "chat", "ttft_s": 0.25}]})
    busy = load(1.0, 10, 20 * MS, 90 * MS)
    assert shedder.reason(request(slo_class="chat"), busy, 0) == "slo_unreachable"
    assert shedder.reason(request(), busy, 0) is None
    assert shedder.reason(request(), busy, 11 * MS) == "slo_unreachable"
    assert shedder.reason(request(slo_class="chat"), load(1.0, 10, 20 * MS, None), 0) is None
    assert shedder.reason(request(slo_class="chat"), load(1.0, 0, None, 250 * MS), 0) is None
    lenient = shedder_of("slo_aware", targets={"ttft_s": 0.25}, tolerance_ratio=0.2)
    assert lenient.reason(request(), busy, 0) is None
    assert shedder_of("slo_aware").reason(request(), busy, 0) is None
    only_low = shedder_of("slo_aware", targets={"ttft_s": 0.1}, sheds_all=False)
    assert only_low.reason(request(), busy, 0) is None
    assert only_low.reason(request(priority=1), busy, 0) == "slo_unreachable"
