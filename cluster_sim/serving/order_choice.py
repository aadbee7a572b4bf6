"""Choice of the queue order that an engine's options name."""

from typing import Protocol

from cluster_sim.options import ConfigModel
from cluster_sim.serving.queue_orders.base import QUEUE_ORDERS, PrefixTokens, QueueOrder


class OrderedQueue(Protocol):
    """What chooses a queue order: an engine's options."""

    @property
    def policy(self) -> str:
        """The order's name."""
        ...

    @property
    def ordering(self) -> ConfigModel:
        """The options of every order."""
        ...


def queue_order_of(engine: OrderedQueue, prefix_tokens: PrefixTokens) -> QueueOrder | None:
    """Return the order of an engine's waiting queue; None for plain first come, first served, which costs nothing."""
    entry = QUEUE_ORDERS.get(engine.policy)
    if entry.part.is_by_arrival:
        return None
    names = entry.options.model_fields.keys() - {QUEUE_ORDERS.tag}
    return entry.part(entry.options(**{name: getattr(engine.ordering, name) for name in names}), prefix_tokens)
