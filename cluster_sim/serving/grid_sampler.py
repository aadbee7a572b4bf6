"""Samples of a replica's state on one grid of simulated time.

A sample at S shows everything below (S, kind SAMPLE).  Only those that show a change are sent, and an outage of the
link holds them up.
"""

from typing import ClassVar, Final

from cluster_sim.engine.instant import KIND_BITS, NEVER, Instant, Kind, instant
from cluster_sim.engine.process import Message
from cluster_sim.serving.fast_forward.planned_decode import PlannedDecode
from cluster_sim.serving.lives.return_link import ReturnLink
from cluster_sim.serving.messages import Sample
from cluster_sim.serving.schedulers.base import Scheduler

_SAMPLE: Final = Kind.SAMPLE


class GridSampler:
    """The samples of one replica on one grid; ``number`` is its number in ``Sample.grid``.

    ``samples_kv`` says whether somebody reads the KV usage, which changes with every step.
    """

    is_barrier: ClassVar[bool] = False
    """Whether no fast-forward may cross its samples."""

    def __init__(
        self,
        replica: int,
        kv_blocks: int,
        number: int,
        period_ns: int,
        latency_ns: int,
        link: ReturnLink,
        *,
        samples_kv: bool,
    ) -> None:
        self._replica = replica
        self._kv_blocks = kv_blocks
        self.number = number
        self._period_ns = period_ns
        self._latency_ns = latency_ns
        self._link = link
        self._samples_kv = samples_kv
        self._sample_ns = 0
        self._reported = (0, 0, 0)
        self.next_due: Instant = NEVER
        """The next sample; never while the replica does not exist."""

    def start(self, birth_ns: int) -> None:
        """Begin with the first sample after ``birth_ns``, or with one at 0."""
        self._sample_ns = (birth_ns // self._period_ns + 1) * self._period_ns if birth_ns else 0
        self.next_due = instant(self._sample_ns, _SAMPLE)

    def stop(self) -> None:
        """Take no more samples."""
        self.next_due = NEVER

    def has_news(self, scheduler: Scheduler) -> bool:
        """Return whether the state differs from what the last sample showed."""
        return self._state(scheduler, 0) != self._reported

    def sample_until(self, last_ns: int, scheduler: Scheduler, out: list[Message]) -> None:
        """Take every sample up to ``last_ns``, of which there is one; the state has not changed since it was due."""
        self._sample(self._sample_ns, scheduler, 0, out)
        self._go_on_after(last_ns)

    def sample_during(self, planned: PlannedDecode, last_ns: int, scheduler: Scheduler, out: list[Message]) -> None:
        """Take every sample up to ``last_ns``, of which there is one, in a fast-forward whose steps from
        ``planned.offset`` on are not committed yet.
        """
        if not self._samples_kv:
            self.sample_until(last_ns, scheduler, out)
            return
        for sample_ns in range(self._sample_ns, last_ns + 1, self._period_ns):
            self._sample(sample_ns, scheduler, planned.blocks_before(sample_ns), out)
        self._go_on_after(last_ns)

    def _go_on_after(self, last_ns: int) -> None:
        self._sample_ns = (last_ns // self._period_ns + 1) * self._period_ns
        self.next_due = self._sample_ns << KIND_BITS | _SAMPLE

    def _state(self, scheduler: Scheduler, more_blocks: int) -> tuple[int, int, int]:
        used = scheduler.kv_used_blocks + more_blocks if self._samples_kv else 0
        return scheduler.running_count, scheduler.waiting_count, used

    def _sample(self, sample_ns: int, scheduler: Scheduler, more_blocks: int, out: list[Message]) -> None:
        """Show the state at ``sample_ns``, when ``more_blocks`` are in use than now, if it has changed."""
        state = self._state(scheduler, more_blocks)
        if state == self._reported:
            return
        self._reported = state
        used_ratio = (scheduler.kv_used_blocks + more_blocks) / self._kv_blocks
        sample = Sample(self._replica, state[0], state[1], used_ratio, self.number)
        seen_ns = self._link.sets_out_ns(sample_ns) + self._latency_ns
        out.append(Message(instant(seen_ns, Kind.NOTICE), self._replica + 1, sample_ns, sample))
