"""Waiting queues against plain sorted lists, and what they cost however many wait."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from cluster_sim.options import ConfigModel
from cluster_sim.serving.queue_orders.base import QueueOrder
from cluster_sim.serving.queue_orders.waiting_queue import ArrivalQueue, OrderedQueue
from cluster_sim.serving.sequence import Sequence
from cluster_sim.workload.request import Request
from tests.serving.queue_orders.queues import queue_of


def waits(request_id: int, arrival_ns: int = 0, prompt: int = 10, output: int = 10) -> Sequence:
    return Sequence(Request(request_id, arrival_ns, prompt, output), 0, arrival_ns)


class CountedOrder(QueueOrder):
    """The shortest prompt, as a static order or one with groups of equal prompts; counts what it is asked."""

    def __init__(self, *, is_static: bool = True) -> None:
        super().__init__(ConfigModel(), lambda _: 0)
        self.is_static = is_static
        self.asked: Counter[str] = Counter()

    def key(self, sequence: Sequence) -> float:
        self.asked["key"] += 1
        return sequence.prompt_tokens * (1 if self.is_static else 1 + self.now_ns % 2)

    def group(self, sequence: Sequence) -> object:
        return None if self.is_static else sequence.prompt_tokens


STEPS = st.lists(
    st.tuples(st.sampled_from(["enter", "enter", "put_back", "leave", "remove", "defer", "sort"]), st.integers(0, 30)),
    max_size=60,
)


@settings(max_examples=60, deadline=None)
@given(STEPS, st.sampled_from(["arrival", "static", "groups"]))
def test_a_queue_is_a_sorted_list(steps: list[tuple[str, int]], kind: str) -> None:
    """Whoever comes, loses a slot, leaves or is set aside: order, head, fewest tokens left and who is there are those
    of a list that is sorted again each time.
    """
    order = CountedOrder(is_static=kind == "static")
    queue = ArrivalQueue() if kind == "arrival" else OrderedQueue(order)
    model: list[Sequence] = []

    def put(sequence: Sequence, at: int) -> None:
        model.insert(at, sequence)
        if kind != "arrival":
            model.sort(key=lambda item: (item.prompt_tokens, item.request.arrival_ns, item.request_id))

    for number, (step, draw) in enumerate(steps):
        if step in ("enter", "put_back"):
            sequence = waits(number, draw % 5, 1 + draw % 3, 1 + draw % 7)
            put(sequence, len(model) if step == "enter" else 0)
            (queue.enter if step == "enter" else queue.put_back)(sequence)
        elif step == "remove":
            victim = model.pop(draw % len(model)) if model else None
            assert queue.remove(victim.key if victim else 99) is victim
        elif step == "leave" and model:
            assert queue.leave() is model.pop(0)
        elif step == "defer" and len(model) > 1:
            queue.defer()
            assert queue.head is model[1]
            queue.restore()
        elif step == "sort":
            queue.sort([], draw)
        assert list(queue) == model
        assert set(queue.present) == {sequence.key for sequence in model}
        if model:
            assert queue.head is model[0]
        if model and draw % 3:  # Figures that nobody asks for are not kept, so they must be right after a pause, too.
            assert queue.fewest_left() == min(sequence.output_tokens for sequence in model)


def asked_per_admission(order: CountedOrder, size: int) -> Counter[str]:
    """Return what an order is asked while 100 requests come and go one by one and ``size`` others wait."""
    queue = queue_of(order, [waits(index, index, 10 + index % 8) for index in range(size)])
    order.asked.clear()
    for index in range(100):
        queue.enter(waits(size + index, size + index, 10 + index % 8))
        queue.sort([], index)
        queue.leave()
    return order.asked


def test_a_static_key_is_asked_once() -> None:
    """100 newcomers are asked once each, behind 50 as behind 2,000."""
    assert asked_per_admission(CountedOrder(), 50)["key"] == 100
    assert asked_per_admission(CountedOrder(), 2000)["key"] == 100


def test_a_changing_key_is_asked_of_each_group() -> None:
    """Eight groups, of which the first leaves and shows its next: 9 keys a step, behind 1,000 as behind 4,000."""
    assert asked_per_admission(CountedOrder(is_static=False), 1000)["key"] == 900
    assert asked_per_admission(CountedOrder(is_static=False), 4000)["key"] == 900


def test_who_does_not_wait_is_not_searched() -> None:
    """A cancellation of somebody else compares no sequence, and that of the newest moves no other."""
    compared = 0

    class Watched(Sequence):
        __slots__ = ()

        def __eq__(self, other: object) -> bool:
            nonlocal compared
            compared += 1
            return self is other

        __hash__ = Sequence.__hash__

    queue = ArrivalQueue()
    for index in range(1000):
        queue.enter(Watched(Request(index, 0, 1, 1), 0, 0))
    assert queue.remove(5000) is None
    assert compared == 0


def test_fewest_tokens_are_kept_in_bounded_memory() -> None:
    """One long answer waits for ever while 5,000 others pass: what has left is forgotten in time."""
    queue = ArrivalQueue()
    queue.enter(waits(0, output=1))
    assert queue.fewest_left() == 1
    for index in range(1, 5000):
        queue.enter(waits(index, output=9))
        queue.remove(index)
    assert queue.fewest_left() == 1
    assert queue._left is not None
    assert len(queue._left) < 100
