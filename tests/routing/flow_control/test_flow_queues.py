"""Order and limits of the router's queues, by hand and against a plain list."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cluster_sim.engine.instant import NEVER
from cluster_sim.routing.flow_control.fairness_interface import FAIRNESS, build_fairness
from cluster_sim.routing.flow_control.flow_queues import FlowQueues
from cluster_sim.routing.flow_control.ordering_interface import ORDERINGS, build_ordering
from cluster_sim.routing.flow_control.queue_limits import QueueOptions
from cluster_sim.workload.request import Attributes, Request

S = 1_000_000_000


def queues_of(ordering: Any = "fcfs", fairness: str = "round_robin", **limits: Any) -> FlowQueues:
    block = {"kind": ordering} if isinstance(ordering, str) else ordering
    order = build_ordering(ORDERINGS.get(block["kind"]).options.model_validate(block))
    chosen = FAIRNESS.get(fairness).options.model_validate({"kind": fairness})
    return FlowQueues(QueueOptions.model_validate(limits), order, lambda: build_fairness(chosen))


def request(number: int, tenant: str = "a", priority: int = 0, prompt: int = 10, **attributes: Any) -> Request:
    return Request(number, number, prompt, 5, Attributes(tenant=tenant, priority=priority, **attributes))


def drained(queues: FlowQueues) -> list[int]:
    order = []
    while (queued := queues.pop()) is not None:
        order.append(queued.request.request_id)
    return order


def test_urgent_priorities_go_first_always() -> None:
    """Priority -1 before 0 before 3, whatever the order of queueing."""
    queues = queues_of()
    for number, priority in enumerate((3, 0, -1, 0, 3, -1)):
        queues.add(request(number, priority=priority), "a", number)
    assert drained(queues) == [2, 5, 1, 3, 0, 4]


def test_flows_take_turns() -> None:
    """Tenant a has four waiting, b two and c one: a b c a b a a."""
    queues = queues_of()
    for number, tenant in enumerate("aaaabbc"):
        queues.add(request(number, tenant), tenant, number)
    assert drained(queues) == [0, 4, 6, 1, 5, 2, 3]


def test_turns_go_on_where_they_stopped() -> None:
    """After a was served the next is b, also if a's next request came first."""
    queues = queues_of()
    queues.add(request(0, "a"), "a", 0)
    assert drained(queues) == [0]
    queues.add(request(1, "a"), "a", 1)
    queues.add(request(2, "b"), "b", 2)
    assert drained(queues) == [2, 1]


def test_global_strict_ignores_flows() -> None:
    """With first come, first served over all flows the order is that of queueing."""
    queues = queues_of(fairness="global_strict")
    for number, tenant in enumerate("abacba"):
        queues.add(request(number, tenant), tenant, number)
    assert drained(queues) == [0, 1, 2, 3, 4, 5]


def test_earliest_deadline_first() -> None:
    """A client's deadline at 2 s, then 3 s to live from 0 and from 1 s on; without either a request is last."""
    queues = queues_of("edf", time_to_live_s=3)
    queues.add(request(0), "a", 1 * S)
    queues.add(request(1), "a", 0)
    queues.add(request(2, deadline_ns=2 * S), "a", 1 * S)
    assert drained(queues) == [2, 1, 0]
    endless = queues_of("edf")
    endless.add(request(0), "a", 0)
    endless.add(request(1, deadline_ns=9 * S), "a", 1)
    assert drained(endless) == [1, 0]


def test_slo_deadline() -> None:
    """Arrival + target of the class: 5 s, 0.5 s and none."""
    targets = {"ttft_s": None, "classes": [{"slo_class": "chat", "ttft_s": 0.5}, {"slo_class": "batch", "ttft_s": 5}]}
    queues = queues_of({"kind": "slo_deadline", "targets": targets})
    queues.add(request(0, slo_class="other"), "a", 0)
    queues.add(request(1, slo_class="batch"), "a", 1)
    queues.add(request(2, slo_class="chat"), "a", 2)
    assert drained(queues) == [2, 1, 0]


def test_limits_of_all_and_of_each_priority() -> None:
    """Three requests in all, two of a priority, one of priority 5; 100 prompt tokens; 4 bytes a token."""
    queues = queues_of(
        max_requests=3,
        max_tokens=100,
        per_priority={"max_requests": 2},
        priorities=[{"priority": 5, "max_requests": 1, "max_bytes": 80}],
    )
    assert not queues.has_room(request(0, prompt=101))
    assert not queues.has_room(request(0, priority=5, prompt=21))
    queues.add(request(0, priority=5, prompt=20), "a", 0)
    assert not queues.has_room(request(1, priority=5, prompt=1))
    queues.add(request(2), "a", 0)
    queues.add(request(3), "a", 0)
    assert not queues.has_room(request(4))
    queues.remove(0)
    assert not queues.has_room(request(4))
    assert queues.has_room(request(4, priority=1, prompt=80))
    assert not queues.has_room(request(4, priority=1, prompt=81))
    assert (queues.size.requests, queues.size.tokens, queues.size.prompt_bytes) == (2, 20, 80)


def test_time_to_live() -> None:
    """A request that is queued at 2 s with 60 s to live expires at 62 s; without a limit never."""
    assert queues_of(time_to_live_s=60).add(request(0), "a", 2 * S).expires_ns == 62 * S
    assert queues_of().add(request(0), "a", 2 * S).expires_ns == NEVER


steps = st.lists(
    st.tuples(st.sampled_from(["add", "pop", "remove"]), st.sampled_from("abc"), st.integers(-1, 2), st.integers(0, 5)),
    max_size=60,
)


@given(steps)
def test_global_strict_equals_a_sorted_list(steps: list[tuple[str, str, int, int]]) -> None:
    """Whatever is added, taken and removed: what goes next has the least (priority, time, number), and sizes agree."""
    queues = queues_of(fairness="global_strict")
    waiting: list[tuple[int, int, int]] = []
    for number, (step, tenant, priority, value) in enumerate(steps):
        if step == "add":
            queues.add(request(number, tenant, priority), tenant, value)
            waiting.append((priority, value, number))
        elif step == "pop":
            queued = queues.pop()
            assert (queued is None) == (not waiting)
            if queued is not None:
                assert queued.request.request_id == min(waiting)[2]
                waiting.remove(min(waiting))
        elif waiting:
            victim = waiting.pop(value % len(waiting))
            assert queues.remove(victim[2]) is not None
            assert queues.remove(victim[2]) is None
        assert len(queues) == len(waiting)
        assert queues.size.tokens == 10 * len(waiting)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 2)), max_size=40))
def test_round_robin_serves_every_flow_in_turn(added: list[tuple[str, int]]) -> None:
    """Within a priority no flow is served twice while another waits that was served less since it came."""
    queues = queues_of()
    for number, (tenant, priority) in enumerate(added):
        queues.add(request(number, tenant, priority), tenant, number)
    counts: dict[tuple[int, str], int] = {}
    left = [(priority, tenant) for tenant, priority in added]
    while (queued := queues.pop()) is not None:
        served = (queued.request.attributes.priority, queued.flow)
        assert served[0] == min(left)[0]
        counts[served] = counts.get(served, 0) + 1
        others = {flow for flow in left if flow[0] == served[0]}
        assert all(counts.get(flow, 0) >= counts[served] - 1 for flow in others)
        left.remove(served)
    assert not left
