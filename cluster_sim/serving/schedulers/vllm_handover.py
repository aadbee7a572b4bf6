"""Hand-over in vLLM v1's scheduler: the part of it that a KV connector uses.

vllm/v1/core/sched/scheduler.py: ``_connector_finished`` keeps the blocks of a finished prompt until they are sent,
WAITING_FOR_REMOTE_KVS sets a request aside whose blocks are allocated and not yet filled.
"""

from cluster_sim.serving.handover.legs import Leg, Legs
from cluster_sim.serving.kv_cache.base import BlockCache
from cluster_sim.serving.lora import LoraSlots
from cluster_sim.serving.queue_orders.waiting_queue import WaitingQueue
from cluster_sim.serving.schedulers.base import Scheduler
from cluster_sim.serving.sequence import Sequence


class VllmHandover(Scheduler):
    """Holds prompts for other replicas, and takes in those that others have computed."""

    hands_over = True

    _kv: BlockCache
    _queue: WaitingQueue
    _running: dict[int, Sequence]
    _lora: LoraSlots | None
    _legs: Legs

    @property
    def reservations(self) -> int:
        return self._legs.wanting

    def reserve(self, sequence: Sequence) -> None:
        self._legs.want(sequence)
        self._queue.enter(sequence)

    def arrive(self, key: int, computed_tokens: int, generated_tokens: int, now_ns: int) -> bool:
        sequence = self._legs.arrive(key)
        if sequence is None:
            return False
        self._kv.fill(sequence, sequence.prompt_tokens)
        sequence.computed = computed_tokens
        sequence.transferred_tokens = max(computed_tokens - sequence.cached_tokens, 0)
        return True

    def release(self, key: int) -> bool:
        held = self._legs.held.pop(key, None)
        if held is not None:
            self._kv.free(held)
            self._queue.is_blocked = False
            return True
        running = self._running.get(key)
        if running is not None:
            running.leg = Leg.WHOLE
        return False

    def _hold(self, sequence: Sequence) -> None:
        """Keep the blocks of a computed prompt, but not its slot."""
        self._leave(sequence)
        self._legs.held[sequence.key] = sequence

    def _remove_leg(self, key: int) -> bool:
        """Drop a sequence whose prompt is computed elsewhere, and which has its blocks."""
        sequence = self._legs.remove(key)
        if sequence is None:
            return False
        if sequence.leg == Leg.LOADING:
            self._kv.cancel_reservation(sequence, sequence.prompt_tokens)
        else:
            sequence.computed = sequence.prompt_tokens
            self._kv.free(sequence)
        self._queue.is_blocked = False
        return True

    def _leave(self, sequence: Sequence) -> None:
        """Take slot and adapter back."""
        del self._running[sequence.key]
        if self._lora is not None:
            self._lora.leave(sequence.request.attributes.lora)
