"""Waiting queues of a given order."""

from collections.abc import Iterable

from cluster_sim.serving.queue_orders.base import QueueOrder
from cluster_sim.serving.queue_orders.waiting_queue import OrderedQueue
from cluster_sim.serving.sequence import Sequence


def queue_of(order: QueueOrder, waiting: Iterable[Sequence]) -> OrderedQueue:
    """Return a queue into which sequences have come one after another."""
    queue = OrderedQueue(order)
    for sequence in waiting:
        queue.enter(sequence)
    return queue


def ordered(
    order: QueueOrder, waiting: Iterable[Sequence], running: Iterable[Sequence] = (), now_ns: int = 0
) -> list[Sequence]:
    """Return sequences that come one after another as they wait in order at a scheduling instant."""
    queue = queue_of(order, waiting)
    queue.sort(running, now_ns)
    return list(queue)
