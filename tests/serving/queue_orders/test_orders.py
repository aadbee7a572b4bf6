"""Every queue order against a hand-made queue."""

import pytest

from cluster_sim.errors import InputError
from cluster_sim.hardware.batch_shape import BatchShape
from cluster_sim.serving.deadlines import Deadlines
from cluster_sim.serving.estimated_service import ServiceTime, ServiceTimeOptions
from cluster_sim.serving.queue_orders.base import QUEUE_ORDERS, QueueOrder
from cluster_sim.serving.queue_orders.st import SpaceTimeSharing
from cluster_sim.serving.queue_orders.vtc import FairShare
from cluster_sim.serving.sequence import Sequence
from cluster_sim.units import NS_PER_MS, NS_PER_S
from cluster_sim.workload.request import Attributes, Request
from tests.serving.queue_orders.queues import ordered, queue_of
from tests.serving.step_times import TokenClock


def policy(name: str, **figures: float) -> QueueOrder:
    """Return a queue order on the token clock; the cache holds half of every prompt."""
    entry = QUEUE_ORDERS.get(name)
    order = entry.part(entry.options(**figures), lambda item: item.prompt_tokens // 2)
    order.use_predictor(TokenClock(100_000))
    return order


def waiting(request_id: int, arrival_s: float, prompt: int, output: int, **attributes: object) -> Sequence:
    """Return a waiting sequence, whose prompt has a name by which a cache can find it."""
    arrival_ns = round(arrival_s * NS_PER_S)
    named = Attributes(segments=((request_id, prompt),), **attributes)
    return Sequence(Request(request_id, arrival_ns, prompt, output, named), 0, arrival_ns)


QUEUE = [
    waiting(0, 0.0, 1000, 10, priority=5),
    waiting(1, 1.0, 200, 3000, priority=0),
    waiting(2, 2.0, 400, 100, priority=2),
    waiting(3, 3.0, 6000, 50, priority=0),
]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("fcfs", [0, 1, 2, 3]),
        ("sjf", [1, 2, 0, 3]),
        # 1 ms a prompt token + 0.5 ms an output token: 1.005, 1.7, 0.45, 6.025 s
        ("predicted_sjf", [2, 0, 1, 3]),
        # prefill alone 0.1, 0.02, 0.04, 0.6 s; spans 0.5, 0.5, 0.5, 0.9 s
        ("edf", [0, 1, 2, 3]),
        ("lpm", [3, 0, 2, 1]),
    ],
)
def test_order_of_a_hand_made_queue(name: str, expected: list[int]) -> None:
    """Each policy orders the four requests as its definition says."""
    assert [item.request_id for item in ordered(policy(name), QUEUE[::-1], now_ns=4 * NS_PER_S)] == expected


def test_waiting_raises_priority() -> None:
    """At one level a second: 5-10, 0-9, 2-8, 0-7 at t = 10 s; without aging the plain priority, then arrival."""
    order = [item.request_id for item in ordered(policy("priority_aging"), QUEUE)]
    assert order == [1, 3, 2, 0]
    order = [item.request_id for item in ordered(policy("priority_aging", aging_per_s=3.0), QUEUE)]
    assert order == [1, 0, 2, 3]
    assert [item.request_id for item in ordered(policy("priority_aging", aging_per_s=0.0), QUEUE)] == [1, 3, 2, 0]


def test_urgency_favours_short_jobs() -> None:
    """A job of 0.45 s gains 0.9 / 0.45 = 2 levels and passes one of the same priority that is longer."""
    short, long = waiting(0, 0.0, 400, 100, priority=1), waiting(1, 0.0, 4000, 1000, priority=0)
    assert policy("priority_aging", urgency_s=0.9).key(short) == pytest.approx(-1.0)
    assert ordered(policy("priority_aging", urgency_s=0.9), [long, short])[0] is short


def test_deadline_span_is_at_least_the_minimum_and_the_clients_own_wins() -> None:
    """6,000 tokens alone take 0.6 s (rounded up to 64 tokens: 0.6016 s), times 1.5; short prompts get 0.5 s."""
    deadlines = Deadlines(TokenClock(100_000))
    assert deadlines.span_ns(QUEUE[3].request) == round(1.5 * 6016 * 100_000)
    assert deadlines.span_ns(QUEUE[1].request) == NS_PER_S // 2
    given = waiting(9, 1.0, 10, 10, deadline_ns=3 * NS_PER_S).request
    assert deadlines.span_ns(given) == 2 * NS_PER_S
    assert deadlines.deadline_ns(given) == 3 * NS_PER_S


def test_slack_counts_only_what_is_left_of_the_prefill() -> None:
    """With half of 6,016 tokens done, the slack at arrival is (0.9024 - 0.3008) / 0.9024."""
    deadlines = Deadlines(TokenClock(100_000))
    assert deadlines.slack_ratio(QUEUE[3].request, 3008, 3 * NS_PER_S) == pytest.approx(2 / 3)
    late = ordered(policy("lrs"), QUEUE, now_ns=10 * NS_PER_S)
    assert [item.request_id for item in late] == [0, 1, 2, 3]


def test_space_time_sharing_shortens_long_prompts_with_slack() -> None:
    """A long prompt with all its slack gives half of the 50 ms step away; a short one nothing."""
    st = policy("st")
    assert isinstance(st, SpaceTimeSharing)
    long = waiting(0, 0.0, 100_000, 10)
    assert st.chunk_target_ns(long) == 50 * NS_PER_MS
    long.computed = 90_000
    assert st.chunk_target_ns(long) == 25 * NS_PER_MS
    st.begin([0], [], 100 * NS_PER_S)
    assert st.chunk_target_ns(long) == 50 * NS_PER_MS
    assert not policy("lrs").sizes_chunks


def test_space_time_sharing_keeps_long_chunks_apart() -> None:
    """Chunks that end beyond 8,192 tokens exclude each other; those that end there or before do not."""
    st = policy("st")
    shape = BatchShape(prefills=[(192, 8000)])
    assert st.may_join(shape, 9000)
    shape.prefills.append((193, 8000))
    assert st.may_join(shape, 8192)
    assert not st.may_join(shape, 8193)
    sequence = waiting(0, 0.0, 100_000, 10)
    sequence.computed = 8000
    assert st.fit_chunk(sequence, 8000, 1000, BatchShape()) == 500
    assert st.fit_chunk(sequence, 8000, 192, BatchShape(prefills=[(100, 9000)])) == 192
    assert st.fit_chunk(sequence, 8000, 193, BatchShape(prefills=[(100, 9000)])) == 0


def test_chunk_fills_the_target_step() -> None:
    """50 ms hold 500 tokens at 100 us; 100 decodes in the step leave room for 400."""
    deadlines = Deadlines(TokenClock(100_000))
    assert deadlines.chunk_tokens(50 * NS_PER_MS, 0, 10_000) == 500
    assert deadlines.chunk_tokens(50 * NS_PER_MS, 0, 10_000, BatchShape(decodes=100)) == 400
    assert deadlines.chunk_tokens(50 * NS_PER_MS, 0, 64) == 64


def test_fair_share_serves_the_tenant_with_less_service() -> None:
    """Tenant a got 1,000 + 2 * 50 = 1,100 units, so b goes first; a tenant that comes back gets no credit."""
    fair = policy("vtc")
    assert isinstance(fair, FairShare)
    running = waiting(0, 0.0, 1000, 100, tenant="a")
    running.generated = 50
    first, second = waiting(1, 1.0, 10, 10, tenant="a"), waiting(2, 2.0, 10, 10, tenant="b")
    assert ordered(fair, [first, second], [running]) == [second, first]
    assert fair.counters == {"a": 1100.0}
    running.generated = 100
    fair.on_end(running)
    assert fair.counters["a"] == 1200.0
    newcomer = waiting(3, 3.0, 10, 10, tenant="c")
    ordered(fair, [first, newcomer])
    assert fair.counters["c"] == 1200.0


def test_fair_share_lifts_a_tenant_whose_last_request_was_admitted() -> None:
    """Tenant a's request starts, so a has nothing waiting; its next one comes in at b's counter, not at its own 10."""
    fair = policy("vtc")
    assert isinstance(fair, FairShare)
    fair.counters.update(a=10.0, b=500.0)
    first, other, later = (waiting(index, index, 10, 10, tenant=tenant) for index, tenant in enumerate("aba"))
    assert ordered(fair, [first, other]) == [first, other]
    fair.on_waiting(["b"])
    ordered(fair, [other, later])
    assert fair.counters == {"a": 500.0, "b": 500.0}


def test_fair_share_charges_what_a_preempted_sequence_got() -> None:
    """A sequence that ran to its 50th token, was preempted and waits again owes 1,000 + 2 * 50 when it is next seen."""
    fair = policy("vtc")
    assert isinstance(fair, FairShare)
    back, other = waiting(0, 0.0, 1000, 100, tenant="a"), waiting(1, 1.0, 10, 10, tenant="b")
    back.scheduled_ns, back.generated = 0, 50
    queue = queue_of(fair, [other])
    queue.put_back(back)
    queue.sort([], 0)
    assert list(queue) == [other, back]
    assert fair.counters == {"a": 1100.0}


def test_a_preempted_sequence_that_leaves_is_charged_once() -> None:
    """It is cancelled before its queue is looked at again: 1,000 + 2 * 50 and no more."""
    fair = policy("vtc")
    assert isinstance(fair, FairShare)
    back = waiting(0, 0.0, 1000, 100, tenant="a")
    back.scheduled_ns, back.generated = 0, 50
    queue = queue_of(fair, [])
    queue.put_back(back)
    assert queue.remove(0) is back
    fair.on_end(back)
    queue.sort([], 0)
    assert fair.counters == {"a": 1100.0}


def service(**options: object) -> ServiceTime:
    return ServiceTime(ServiceTimeOptions(**options))


def test_length_knowledge() -> None:
    """Exact knows, none gives its default, noisy is right on average, spread, and the same for the same request."""
    request = Request(7, 0, 10, 1000)
    assert service(length_knowledge="exact").output_tokens(request) == 1000
    assert service(length_knowledge="none", length_default_tokens=99).output_tokens(request) == 99
    noisy = service(length_knowledge="noisy", length_cv=0.3, length_seed=5)
    draws = [noisy.output_tokens(Request(index, 0, 10, 1000)) for index in range(4000)]
    assert sum(draws) / 4000 == pytest.approx(1000, rel=0.02)
    assert noisy.output_tokens(Request(17, 0, 10, 1000)) == draws[17]
    other = service(length_knowledge="noisy", length_cv=0.3, length_seed=6)
    assert other.output_tokens(Request(17, 0, 10, 1000)) != draws[17]
    hinted = Request(1, 0, 10, 1000, Attributes(length_hint_tokens=700))
    assert noisy.output_tokens(hinted) == 700


def test_unknown_names_list_the_known_ones() -> None:
    """The error says what would be right."""
    with pytest.raises(InputError, match=r"unknown queue order 'sjff'; did you mean 'sjf'\?; known: dfs_weight, edf"):
        policy("sjff")
    with pytest.raises(ValueError, match="'exact', 'noisy' or 'none'"):
        service(length_knowledge="oracle")
