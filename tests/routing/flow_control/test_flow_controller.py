"""Flow control of one model by hand: what passes, waits, is shed and leaves the queue."""

from typing import Any

from cluster_sim.routing.flow_control.admission_options import AdmissionOptions
from cluster_sim.routing.flow_control.flow_controller import Decision, FlowController
from cluster_sim.workload.request import Attributes, Request

MS = 1_000_000
ONE = (0,)


def controller_of(count: int = 1, **admission: Any) -> FlowController:
    controller = FlowController(AdmissionOptions.model_validate(admission), 7)
    for position in range(count):
        controller.on_join(position)
    return controller


def request(number: int, priority: int = 0, tenant: str = "") -> Request:
    return Request(number, 0, 10, 5, Attributes(priority=priority, tenant=tenant))


def test_requests_wait_while_the_replicas_are_saturated() -> None:
    """Limit 1: the first passes, the second and third wait, the fourth finds the queue full; each end lets one go."""
    controller = controller_of(detector={"kind": "concurrency", "max_requests": 1}, queue={"max_requests": 2})
    assert controller.offer(request(0), ONE, 0).decision == Decision.PASS
    controller.on_dispatch(0, request(0))
    assert controller.offer(request(1), ONE, 0).decision == Decision.QUEUED
    assert controller.offer(request(2, priority=-1), ONE, 0).decision == Decision.QUEUED
    shed = controller.offer(request(3), ONE, 0)
    assert (shed.decision, shed.reason) == (Decision.SHED, "queue_full")
    assert controller.next_request(ONE, 0) is None
    controller.on_end(0, request(0))
    urgent = controller.next_request(ONE, 5)
    assert urgent is not None
    assert urgent.request_id == 2
    controller.on_dispatch(0, urgent)
    assert controller.next_request(ONE, 5) is None
    assert len(controller.queues) == 1


def test_nobody_overtakes_the_queue() -> None:
    """While something waits an arrival waits too, although the replicas have room."""
    controller = controller_of(detector={"kind": "concurrency", "max_requests": 1})
    controller.on_dispatch(0, request(0))
    controller.offer(request(1), ONE, 0)
    controller.on_end(0, request(0))
    assert controller.offer(request(2), ONE, 1).decision == Decision.QUEUED


def test_without_replicas_requests_wait() -> None:
    """No member at all is saturated, also without a detector; the first one that comes gets the queue."""
    for admission in ({}, {"detector": {"kind": "concurrency"}}, {"detector": {"kind": "utilization"}}):
        controller = controller_of(**admission)
        assert controller.offer(request(0), (), 0).decision == Decision.QUEUED
        assert controller.next_request((), 1) is None
        found = controller.next_request(ONE, 1)
        assert found is not None
        assert found.request_id == 0


def test_only_shedders_read_a_detector_without_queues() -> None:
    """While the replica is saturated requests of low priority are shed, and nobody waits."""
    detector = {"kind": "concurrency", "max_requests": 1}
    controller = controller_of(detector=detector, queues_saturated=False, shedders=[{"kind": "sheddable"}])
    controller.on_dispatch(0, request(0))
    assert controller.offer(request(1), ONE, 0).decision == Decision.PASS
    assert controller.offer(request(2, priority=1), ONE, 0).decision == Decision.SHED


def test_limits_of_sglang() -> None:
    """256 at once, 100 waiting, the rest is turned away, 60 s to live."""
    controller = controller_of(
        detector={"kind": "total_concurrency"}, queue={"max_requests": 100, "time_to_live_s": 60}
    )
    decisions = []
    for number in range(400):
        answer = controller.offer(request(number), ONE, 0)
        decisions.append(answer.decision)
        if answer.decision == Decision.PASS:
            controller.on_dispatch(0, request(number))
        if answer.queued is not None:
            assert answer.queued.expires_ns == 60_000 * MS
    assert [decisions.count(decision) for decision in Decision] == [256, 100, 44]


def test_shedders_are_asked_in_order_but_not_about_retries() -> None:
    """A sheddable request is shed at saturation 1; as a retry it waits."""
    controller = controller_of(detector={"kind": "concurrency", "max_requests": 1}, shedders=[{"kind": "sheddable"}])
    controller.on_dispatch(0, request(0))
    assert controller.offer(request(1, priority=1), ONE, 0).reason == "shed_saturation"
    assert controller.offer(request(1, priority=1), ONE, 0, is_retry=True).decision == Decision.QUEUED


def test_estimates_of_the_slo_aware_shedder() -> None:
    """Requests leave each 20 ms, first tokens take 90 ms: with ten ahead 290 ms are above a target of 250 ms."""
    controller = controller_of(
        detector={"kind": "concurrency", "max_requests": 1},
        shedders=[{"kind": "slo_aware", "targets": {"ttft_s": 0.25}}],
    )
    controller.on_dispatch(0, request(0))
    for number in range(1, 14):
        assert controller.offer(request(number), ONE, 0).decision == Decision.QUEUED
    for turn in range(3):
        controller.on_end(0, request(turn))
        controller.note_first_token(90 * MS)
        found = controller.next_request(ONE, 20 * MS * turn)
        assert found is not None
        controller.on_dispatch(0, found)
    assert len(controller.queues) == 10
    late = Request(20, 40 * MS, 10, 5)
    assert controller.offer(late, ONE, 40 * MS).reason == "slo_unreachable"
    controller.queues.remove(13)
    controller.queues.remove(12)
    assert controller.offer(late, ONE, 40 * MS).decision == Decision.QUEUED


def test_replicas_above_their_limit_are_left_out() -> None:
    """Of two replicas of 1 each the busy one is left out; without the filter it is not."""
    detector = {"kind": "concurrency", "max_requests": 1}
    controller = controller_of(2, detector=detector)
    controller.on_dispatch(0, request(0))
    assert controller.spared((0, 1), 0) == [1]
    lenient = controller_of(2, detector=detector, filters_saturated=False)
    lenient.on_dispatch(0, request(0))
    assert lenient.spared((0, 1), 0) == (0, 1)


def test_flows_are_tenants_sessions_or_one() -> None:
    """With tenants a and b take turns; in one flow the order is that of arrival."""
    for flow_by, order in (("tenant", [0, 2, 1]), ("none", [0, 1, 2])):
        controller = controller_of(flow_by=flow_by)
        for number, tenant in enumerate("aab"):
            controller.offer(request(number, tenant=tenant), (), 0)
        found = [controller.next_request(ONE, 1) for _ in range(3)]
        assert [one.request_id for one in found if one is not None] == order
