"""Fair share between tenants, by virtual token counters."""

from collections import deque
from collections.abc import Collection, Iterable
from typing import Literal

from pydantic import Field

from cluster_sim.options import GREATEST_WEIGHT, ConfigModel
from cluster_sim.serving.queue_orders.base import QUEUE_ORDERS, PrefixTokens, QueueOrder
from cluster_sim.serving.sequence import Sequence


class VtcOptions(ConfigModel):
    """The tenant with the least weighted service so far."""

    policy: Literal["vtc"] = "vtc"
    prompt_weight: float = Field(1.0, ge=0, le=GREATEST_WEIGHT, description="Service charged per prompt token.")
    output_weight: float = Field(2.0, ge=0, le=GREATEST_WEIGHT, description="Service charged per output token.")


@QUEUE_ORDERS.register("vtc", VtcOptions)
class FairShare(QueueOrder):
    """Virtual token counter (Sheng et al., OSDI 2024): the tenant that got the least weighted service goes first.

    A tenant's counter grows by ``prompt_weight`` per admitted prompt token and ``output_weight`` per generated one.  A
    tenant that had nothing waiting is lifted to the least counter of those that have, so that idling earns no credit.
    """

    is_static = False
    watches_running = True

    def __init__(self, options: VtcOptions, prefix_tokens: PrefixTokens) -> None:
        super().__init__(options, prefix_tokens)
        self._prompt_weight = options.prompt_weight
        self._output_weight = options.output_weight
        self.counters: dict[str, float] = {}
        self._waiting_tenants: set[object] = set()
        self._charged: dict[int, float] = {}
        """Weighted service charged so far to each sequence that has run and not left."""
        self._preempted: deque[Sequence] = deque()
        """Sequences that have lost their slots since the last call, in queue order: what they got until then counts."""

    def group(self, sequence: Sequence) -> object:
        """Return the tenant."""
        return sequence.request.attributes.tenant

    def begin(self, groups: Collection[object], running: Iterable[Sequence], now_ns: int) -> None:
        """Charge what sequences got since the last call, and lift tenants that come back."""
        self.now_ns = now_ns
        for sequence in running:
            self._charge(sequence)
        while self._preempted:
            self._charge(self._preempted.popleft())
        active = [self._counter(tenant) for tenant in groups if tenant in self._waiting_tenants]
        if active:
            least = min(active)
            for tenant in groups:
                if tenant not in self._waiting_tenants:
                    self.counters[str(tenant)] = max(self._counter(tenant), least)
        self._waiting_tenants = set(groups)

    def on_waiting(self, groups: Collection[object]) -> None:
        """Remember who has something waiting from now on: who next comes without is lifted."""
        self._waiting_tenants = set(groups)

    def on_preempted(self, sequence: Sequence, *, is_first: bool) -> None:
        """Charge the sequence at the next call of ``begin``."""
        if is_first:
            self._preempted.appendleft(sequence)
        else:
            self._preempted.append(sequence)

    def on_end(self, sequence: Sequence) -> None:
        """Charge the rest of a sequence that has left."""
        self._charge(sequence)
        self._charged.pop(sequence.key, None)
        if sequence in self._preempted:
            self._preempted.remove(sequence)

    def _charge(self, sequence: Sequence) -> None:
        """Charge what a sequence has got beyond what it was charged; computing it again is free."""
        tenant = sequence.request.attributes.tenant
        service = self._prompt_weight * sequence.prompt_tokens + self._output_weight * sequence.generated
        before = self._charged.get(sequence.key, 0.0)
        if service > before:
            self.counters[tenant] = self.counters.get(tenant, 0.0) + service - before
            self._charged[sequence.key] = service

    def key(self, sequence: Sequence) -> float:
        """Return the tenant's counter."""
        return self._counter(sequence.request.attributes.tenant)

    def _counter(self, tenant: object) -> float:
        return self.counters.get(str(tenant), 0.0)
