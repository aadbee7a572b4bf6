"""Hand-over in schedulers whose sequences are in at most one unfinished batch: SGLang's and TensorRT-LLM's.

The first token of a request whose prompt was computed elsewhere has come along with the cache.  The client gets it when
the request joins those that decode here.
"""

from abc import abstractmethod

from cluster_sim.serving.handover.legs import Leg, Legs
from cluster_sim.serving.scheduler_limits import SchedulerLimits
from cluster_sim.serving.schedulers.engine_options import EngineOptions
from cluster_sim.serving.schedulers.serial import SerialScheduler
from cluster_sim.serving.sequence import Sequence


class SerialHandover(SerialScheduler):
    """Keeps computed prompts for others, and takes in those that others have computed."""

    hands_over = True

    def __init__(self, engine: EngineOptions, limits: SchedulerLimits) -> None:
        super().__init__(engine, limits)
        self.legs = Legs()

    @abstractmethod
    def keep(self, sequence: Sequence) -> None:
        """Give up the slot of a computed prompt, but not its blocks."""

    @abstractmethod
    def give_back(self, sequence: Sequence) -> None:
        """Take back the blocks of a prompt that was kept."""

    @abstractmethod
    def cancel_reservation(self, sequence: Sequence) -> None:
        """Take back the blocks of a prompt that has not arrived."""

    # ------------------------------------------------------------------------------------------------------- readings

    def has_work(self) -> bool:
        """Whether a sequence waits, has arrived or stands between two batches."""
        return super().has_work() or bool(self.legs.arrived)

    def fewest_batches(self) -> int:
        """Return the least number of tokens that any sequence still has to yield."""
        fewest = super().fewest_batches()
        arrived = self.legs.fewest_left()
        return min(fewest, arrived) if fewest and arrived else fewest or arrived

    @property
    def reservations(self) -> int:
        """Return how many sequences want blocks for a prompt computed elsewhere."""
        return self.legs.wanting

    # -------------------------------------------------------------------------------------------------------- messages

    def reserve(self, sequence: Sequence) -> None:
        """Put a sequence into the queue, for blocks only."""
        self.legs.want(sequence)
        self.add(sequence)

    def arrive(self, key: int, computed_tokens: int, generated_tokens: int, now_ns: int) -> bool:
        """Take in a prompt and the tokens that have come along."""
        sequence = self.legs.arrive(key)
        if sequence is None:
            return False
        sequence.computed, sequence.generated = computed_tokens, generated_tokens
        sequence.last_token_ns = now_ns
        sequence.transferred_tokens = max(computed_tokens - sequence.cached_tokens, 0)
        self._has_news = True
        return True

    def release(self, key: int) -> bool:
        """Take back the blocks of a prompt that was kept, or do not keep it when its step ends."""
        held = self.legs.held.pop(key, None)
        if held is not None:
            self.give_back(held)
            self._has_news = True
            return True
        in_flight = self.in_flight.get(key)
        if in_flight is not None and in_flight.leg == Leg.PREFILL:
            in_flight.leg = Leg.WHOLE
        return False

    def remove_waiting(self, key: int) -> bool:
        """Drop a sequence that waits, for a slot, for blocks or for its prompt."""
        leg = self.legs.remove(key)
        if leg is None:
            waiting = self.waiting.get(key)
            if waiting is not None and waiting.leg == Leg.WANTING:
                self.legs.wanting -= 1
            return super().remove_waiting(key)
        self.cancel_reservation(leg)
        self._has_news = True
        return True

    # ------------------------------------------------------------------------------------------------------- scheduling

    def hold(self, sequence: Sequence) -> None:
        """Keep the blocks of a computed prompt, unless nobody wants them any more."""
        if sequence.leg != Leg.PREFILL:
            self.free(sequence)
            return
        self.keep(sequence)
        self.legs.held[sequence.key] = sequence

    def grant(self, sequence: Sequence, cached_tokens: int) -> None:
        """Note that a sequence has got blocks for its whole prompt."""
        sequence.computed = sequence.known_tokens
        sequence.cached_tokens = cached_tokens
        self.legs.grant(sequence)
        self.granted = (*self.granted, sequence)

    def start_arrived(self, now_ns: int, slots: int) -> list[Sequence]:
        """Let at most ``slots`` sequences that have arrived join those that decode; return them."""
        started: list[Sequence] = []
        while self.legs.arrived and len(started) < slots:
            sequence = self.legs.start()
            sequence.order = self._admissions
            self._admissions += 1
            sequence.scheduled_ns = now_ns
            sequence.first_token_ns = sequence.last_token_ns = now_ns
            self.running.append(sequence)
            started.append(sequence)
        self.begun = (*self.begun, *started)
        return started
