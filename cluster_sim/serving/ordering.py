"""Ordering policies: in which order waiting sequences are considered.

A policy gives every waiting sequence a key; the smallest goes first, equal keys by arrival, then by request id.  A
*static* key never changes while the sequence waits, so a queue can keep it; a dynamic one is asked again at every
scheduling instant.  To add a policy, write a class and put it into ``ORDERINGS``.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Final

from cluster_sim.hardware.predictors.base import BatchShape
from cluster_sim.serving.deadlines import Deadlines
from cluster_sim.serving.engine_options import Engine
from cluster_sim.serving.length_knowledge import LengthKnowledge
from cluster_sim.serving.sequence import Sequence
from cluster_sim.units import NS_PER_S


class OrderingContext:
    """What policies may ask about: lengths, deadlines, the cache, and the coefficients of a study."""

    def __init__(
        self,
        knowledge: LengthKnowledge,
        deadlines: Deadlines,
        prefix_tokens: Callable[[Sequence], int],
        aging_per_s: float = 1.0,
        urgency_s: float = 0.0,
        prefill_s_per_token: float = 0.001,
        decode_s_per_token: float = 0.0005,
        prompt_weight: float = 1.0,
        output_weight: float = 2.0,
        long_prompt_tokens: int = 8192,
    ) -> None:
        self.knowledge = knowledge
        self.deadlines = deadlines
        self.prefix_tokens = prefix_tokens
        """Returns how many tokens of a waiting sequence the KV cache holds now."""
        self.aging_per_s = aging_per_s
        """Priority levels that a second of waiting is worth."""
        self.urgency_s = urgency_s
        """Weight of shortness: a job of t seconds gains urgency_s / t priority levels."""
        self.prefill_s_per_token = prefill_s_per_token
        self.decode_s_per_token = decode_s_per_token
        self.prompt_weight = prompt_weight
        self.output_weight = output_weight
        self.long_prompt_tokens = long_prompt_tokens
        """A prompt of which more tokens are processed is a long one."""

    def service_s(self, sequence: Sequence) -> float:
        """Return the estimated service time of a sequence alone in seconds, from its predicted output length."""
        output = self.knowledge.output_tokens(sequence.request)
        return self.prefill_s_per_token * sequence.prompt_tokens + self.decode_s_per_token * output


class Ordering(ABC):
    """One policy on one replica."""

    is_static = True
    """Whether a key holds for as long as the sequence waits."""
    watches_running = False
    """Whether ``begin`` reads the running sequences' counters."""
    sizes_chunks = False
    """Whether ``fit_chunk`` limits prefill chunks and ``may_join`` keeps some out of a step."""

    def __init__(self, context: OrderingContext) -> None:
        self.context = context
        self.now_ns = 0
        """The scheduling instant for which keys are asked."""

    @abstractmethod
    def key(self, sequence: Sequence) -> float:
        """Return the sequence's place; the smallest goes first."""

    def begin(
        self,
        waiting: Iterable[Sequence],
        running: Iterable[Sequence],
        now_ns: int,
    ) -> None:
        """Hear of the scheduling instant and all sequences before keys are asked at it."""
        self.now_ns = now_ns

    def sort(self, waiting: Iterable[Sequence], running: Iterable[Sequence], now_ns: int) -> list[Sequence]:
        """Return the waiting sequences in the policy's order."""
        queue = list(waiting)
        self.begin(queue, running, now_ns)
        key = self.key
        return sorted(queue, key=lambda item: (key(item), item.request.arrival_ns, item.request_id))

    def note_waiting(self, waiting: Iterable[Sequence]) -> None:
        """Hear who still waits after admission, so that nothing depends on formations in which nobody is admitted."""

    def on_end(self, sequence: Sequence) -> None:
        """Hear that a sequence has left for good."""

    def may_join(self, shape: BatchShape, end: int) -> bool:
        """Whether a prefill chunk that ends ``end`` tokens deep in its sequence may join a step of ``shape``."""
        return True

    def fit_chunk(self, sequence: Sequence, computed: int, chunk: int, shape: BatchShape) -> int:
        """Return how much of a prefill chunk behind ``computed`` tokens may join a step of ``shape``; 0 for none."""
        return chunk


class FirstComeFirstServed(Ordering):
    """By arrival."""

    def key(self, sequence: Sequence) -> float:
        """Return the arrival time."""
        return sequence.request.arrival_ns


class Priority(Ordering):
    """The most urgent first; a lower value is more urgent."""

    def key(self, sequence: Sequence) -> float:
        """Return the client's priority."""
        return sequence.request.attributes.priority


class ShortestJobFirst(Ordering):
    """The shortest prompt first."""

    def key(self, sequence: Sequence) -> float:
        """Return the prompt's length."""
        return sequence.prompt_tokens


class PredictedShortestJobFirst(Ordering):
    """The shortest estimated service time first, prompt and predicted output together."""

    def key(self, sequence: Sequence) -> float:
        """Return the estimated service time in seconds."""
        return self.context.service_s(sequence)


class PriorityWithAging(Ordering):
    """priority - aging * waiting time - urgency / service time: a lower value is more urgent, so waiting raises it.

    llm-infer's guide writes base - aging * wait + urgency / time and sorts descending, under which old requests would
    sink; here every term acts as its name says.
    """

    is_static = False

    def key(self, sequence: Sequence) -> float:
        """Return the effective priority; lower is more urgent."""
        context = self.context
        waited_s = (self.now_ns - sequence.request.arrival_ns) / NS_PER_S
        level = sequence.request.attributes.priority - context.aging_per_s * waited_s
        if context.urgency_s:
            level -= context.urgency_s / max(context.service_s(sequence), 1e-9)
        return level


class EarliestDeadlineFirst(Ordering):
    """By absolute deadline."""

    def key(self, sequence: Sequence) -> float:
        """Return the deadline in ns."""
        return self.context.deadlines.deadline_ns(sequence.request)


class LeastRemainingSlack(Ordering):
    """By the share of its time to the deadline that a sequence can still lose."""

    is_static = False

    def key(self, sequence: Sequence) -> float:
        """Return the slack ratio; see ``Deadlines.slack_ratio``."""
        remaining = sequence.known_tokens - sequence.computed
        return self.context.deadlines.slack_ratio(sequence.request, remaining, self.now_ns)


class SpaceTimeSharing(LeastRemainingSlack):
    """Least remaining slack; long prompts take shorter steps the more slack they have, leaving room for others, and two
    chunks that end beyond ``long_prompt_tokens`` of their prompts never share a step.
    """

    sizes_chunks = True

    def chunk_target_ns(self, sequence: Sequence) -> int:
        """Return the target step time in ns, for a long sequence times 1 - slack ratio clipped to 0..0.5."""
        target = self.context.deadlines.target_step_ns
        if sequence.computed <= self.context.long_prompt_tokens:
            return target
        slack = min(0.5, max(0.0, self.key(sequence)))
        return round(target * (1.0 - slack))

    def may_join(self, shape: BatchShape, end: int) -> bool:
        """Whether the chunk or all those in the step end within ``long_prompt_tokens``."""
        long = self.context.long_prompt_tokens
        return end <= long or all(cached + chunk <= long for chunk, cached in shape.prefills)

    def fit_chunk(self, sequence: Sequence, computed: int, chunk: int, shape: BatchShape) -> int:
        """Return the part of a chunk that fills the target step; 0 next to another long one."""
        target_ns = self.chunk_target_ns(sequence)
        chunk = self.context.deadlines.chunk_tokens(target_ns, computed, chunk, shape)
        return chunk if self.may_join(shape, computed + chunk) else 0


class LongestPrefixMatch(Ordering):
    """The sequence with the most cached tokens first."""

    is_static = False

    def key(self, sequence: Sequence) -> float:
        """Return minus the cached tokens."""
        return -self.context.prefix_tokens(sequence)


class FairShare(Ordering):
    """Virtual token counter (Sheng et al., OSDI 2024): the tenant that got the least weighted service goes first.

    A tenant's counter grows by ``prompt_weight`` per admitted prompt token and ``output_weight`` per generated one.  A
    tenant that had nothing waiting is lifted to the least counter of those that have, so that idling earns no credit.
    """

    is_static = False
    watches_running = True

    def __init__(self, context: OrderingContext) -> None:
        super().__init__(context)
        self.counters: dict[str, float] = {}
        self._waiting_tenants: dict[str, None] = {}
        self._charged: dict[int, float] = {}
        """Weighted service charged so far to each sequence that has run and not left."""

    def begin(self, waiting: Iterable[Sequence], running: Iterable[Sequence], now_ns: int) -> None:
        """Charge what running sequences got since the last call, and lift tenants that come back."""
        self.now_ns = now_ns
        for sequence in running:
            self._charge(sequence)
        waiting = list(waiting)
        for sequence in waiting:
            if sequence.scheduled_ns >= 0:  # Preempted since: what it got until then counts.
                self._charge(sequence)
        tenants = dict.fromkeys(sequence.request.attributes.tenant for sequence in waiting)
        active = [self.counters.get(tenant, 0.0) for tenant in tenants if tenant in self._waiting_tenants]
        if active:
            least = min(active)
            for tenant in tenants:
                if tenant not in self._waiting_tenants:
                    self.counters[tenant] = max(self.counters.get(tenant, 0.0), least)
        self._waiting_tenants = tenants

    def note_waiting(self, waiting: Iterable[Sequence]) -> None:
        """Remember who has something waiting from now on: who next comes without is lifted."""
        self._waiting_tenants = dict.fromkeys(sequence.request.attributes.tenant for sequence in waiting)

    def on_end(self, sequence: Sequence) -> None:
        """Charge the rest of a sequence that has left."""
        self._charge(sequence)
        self._charged.pop(sequence.request_id, None)

    def _charge(self, sequence: Sequence) -> None:
        """Charge what a sequence has got beyond what it was charged; computing it again is on the house."""
        context = self.context
        tenant = sequence.request.attributes.tenant
        service = context.prompt_weight * sequence.prompt_tokens + context.output_weight * sequence.generated
        before = self._charged.get(sequence.request_id, 0.0)
        if service > before:
            self.counters[tenant] = self.counters.get(tenant, 0.0) + service - before
            self._charged[sequence.request_id] = service

    def key(self, sequence: Sequence) -> float:
        """Return the tenant's counter."""
        return self.counters.get(sequence.request.attributes.tenant, 0.0)


ORDERINGS: Final[dict[str, type[Ordering]]] = {
    "fcfs": FirstComeFirstServed,
    "priority": Priority,
    "sjf": ShortestJobFirst,
    "predicted_sjf": PredictedShortestJobFirst,
    "priority_aging": PriorityWithAging,
    "edf": EarliestDeadlineFirst,
    "lrs": LeastRemainingSlack,
    "st": SpaceTimeSharing,
    "lpm": LongestPrefixMatch,
    "vtc": FairShare,
}


def ordering_of(engine: Engine, prefix_tokens: Callable[[Sequence], int]) -> Ordering | None:
    """Return the policy of an engine's settings; None for plain first come, first served, which costs nothing, and for
    an order that the scheduler makes itself.
    """
    if engine.policy == "fcfs" or engine.policy not in ORDERINGS:
        return None
    settings = engine.ordering
    knowledge = LengthKnowledge(
        settings.length_knowledge, settings.length_cv, settings.length_default_tokens, settings.length_seed
    )
    deadlines = Deadlines(
        None,
        round(settings.target_step_s * NS_PER_S),
        settings.deadline_multiplier,
        round(settings.min_deadline_s * NS_PER_S),
    )
    context = OrderingContext(
        knowledge,
        deadlines,
        prefix_tokens,
        aging_per_s=settings.aging_per_s,
        urgency_s=settings.urgency_s,
        prefill_s_per_token=settings.prefill_s_per_token,
        decode_s_per_token=settings.decode_s_per_token,
        prompt_weight=settings.prompt_weight,
        output_weight=settings.output_weight,
        long_prompt_tokens=settings.long_prompt_tokens,
    )
    return ordering(engine.policy, context)


def ordering(name: str, context: OrderingContext) -> Ordering:
    """Return the policy called ``name``; raises ValueError naming the known ones."""
    policy = ORDERINGS.get(name)
    if policy is None:
        raise ValueError(f"unknown ordering {name!r}; known: {', '.join(ORDERINGS)}")
    return policy(context)
