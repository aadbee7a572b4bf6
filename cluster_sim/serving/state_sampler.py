"""Sampling of a replica's state at fixed instants: ticks of its time series, and samples for the router's telemetry.

Both are grids of simulated time; what is taken at T shows everything below (T, kind SAMPLE).  The state only changes at
events, so everything taken between two events shows the same, and inside a fast-forward it follows from the closed
form.
"""

from typing import Final

from cluster_sim.engine.instant import KIND_BITS, NEVER, Instant, Kind, instant, time_of
from cluster_sim.engine.process import Message
from cluster_sim.recording.replica_log import ReplicaLog
from cluster_sim.serving.fast_forward.planned_decode import PlannedDecode
from cluster_sim.serving.lives.return_link import ReturnLink
from cluster_sim.serving.messages import Sample
from cluster_sim.serving.schedulers.base import Scheduler

_SAMPLE: Final = Kind.SAMPLE


class StateSampler:
    """The ticks and samples of one replica.

    ``sample_period_ns`` of 0 takes no periodic samples; ``samples_kv`` says whether somebody reads the KV usage, which
    changes with every step.  Only samples that show a change are sent, and an outage of the link holds them up.
    """

    def __init__(
        self,
        replica: int,
        kv_blocks: int,
        log: ReplicaLog,
        series_interval_ns: int,
        sample_period_ns: int,
        sample_latency_ns: int,
        *,
        samples_kv: bool,
        link: ReturnLink,
    ) -> None:
        self._replica = replica
        self._kv_blocks = kv_blocks
        self._log = log
        self._series_interval_ns = series_interval_ns
        self._sample_period_ns = sample_period_ns
        self._latency_ns = sample_latency_ns
        self._samples_kv = samples_kv
        self._tick_ns = 0
        self._sample_ns = 0
        self._link = link
        self._reported = (0, 0, 0)
        self.next_due: Instant = 0
        """The earliest tick or sample to come; nothing has to be done for events below it."""
        self.next_sample: Instant = 0
        """The earliest sample to come."""
        self.stop()

    def start(self, birth_ns: int) -> None:
        """Begin at ``birth_ns``."""
        self._interval_ns, self._period_ns = self._series_interval_ns, self._sample_period_ns
        if self._interval_ns:
            self._tick_ns = (birth_ns // self._interval_ns + 1) * self._interval_ns
        if self._period_ns and birth_ns:
            self._sample_ns = (birth_ns // self._period_ns + 1) * self._period_ns
        self._set_next()

    def stop(self) -> None:
        """Take no more ticks and samples."""
        self._interval_ns = self._period_ns = 0
        self._set_next()

    def _set_next(self) -> None:
        tick = self._tick_ns << KIND_BITS | _SAMPLE if self._interval_ns else NEVER
        sample = self._sample_ns << KIND_BITS | _SAMPLE if self._period_ns else NEVER
        self.next_sample = sample
        self.next_due = tick if tick < sample else sample  # noqa: FURB136 - a call costs five times as much

    def has_news(self, scheduler: Scheduler) -> bool:
        """Return whether the state differs from what the last sample showed."""
        return self._period_ns > 0 and self._state(scheduler, 0) != self._reported

    def sample_until(self, limit: Instant, scheduler: Scheduler, out: list[Message]) -> None:
        """Take every tick and sample below ``limit``; the state has not changed since the last event."""
        last_ns = (limit - 1 - _SAMPLE) >> KIND_BITS
        if self._interval_ns and self._tick_ns <= last_ns:
            running, waiting, used = scheduler.running_count, scheduler.waiting_count, scheduler.kv_used_blocks
            while self._tick_ns <= last_ns:
                self._log.tick(self._tick_ns, running, waiting, used)
                self._tick_ns += self._interval_ns
        if self._period_ns and self._sample_ns <= last_ns:
            self._sample(self._sample_ns, scheduler, 0, out)
            self._sample_ns = (last_ns // self._period_ns + 1) * self._period_ns
        self._set_next()

    def report(self, horizon: Instant, scheduler: Scheduler, out: list[Message]) -> None:
        """Take the samples below ``horizon``, which somebody waits for.

        Ticks wait for the next event: how far horizons run beyond a run's last event depends on placement, and the
        series may not.
        """
        last_ns = (horizon - 1 - _SAMPLE) >> KIND_BITS
        self._sample(self._sample_ns, scheduler, 0, out)
        self._sample_ns = (last_ns // self._period_ns + 1) * self._period_ns
        self._set_next()

    def sample_during(self, planned: PlannedDecode, limit: Instant, scheduler: Scheduler, out: list[Message]) -> None:
        """Take every tick and sample below ``limit`` in a fast-forward whose steps from ``planned.offset`` on are
        not committed yet.
        """
        last_ns = (limit - 1 - _SAMPLE) >> KIND_BITS
        if self._interval_ns and self._tick_ns <= last_ns:
            running, waiting, used = scheduler.running_count, scheduler.waiting_count, scheduler.kv_used_blocks
            while self._tick_ns <= last_ns:
                blocks = planned.blocks_before(self._tick_ns)
                self._log.tick(self._tick_ns, running, waiting, used + blocks)
                self._tick_ns += self._interval_ns
        if self._period_ns and self._sample_ns <= last_ns:
            if not self._samples_kv:
                self._sample(self._sample_ns, scheduler, 0, out)
                self._sample_ns = (last_ns // self._period_ns + 1) * self._period_ns
            while self._sample_ns <= last_ns:
                self._sample(self._sample_ns, scheduler, planned.blocks_before(self._sample_ns), out)
                self._sample_ns += self._period_ns
        self._set_next()

    def probe(self, horizon: Instant, scheduler: Scheduler, out: list[Message]) -> None:
        """Show the state at ``horizon`` at once: perfect instantaneous telemetry."""
        used = scheduler.kv_used_blocks
        state = (scheduler.running_count, scheduler.waiting_count, used)
        now_ns = time_of(horizon)
        if state != self._reported and horizon < NEVER and self._link.sets_out_ns(now_ns) == now_ns:
            self._reported = state
            sample = Sample(self._replica, state[0], state[1], used / self._kv_blocks)
            out.append(Message(instant(now_ns, Kind.SAMPLE), self._replica + 1, now_ns, sample))

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
        sample = Sample(self._replica, state[0], state[1], used_ratio)
        seen_ns = self._link.sets_out_ns(sample_ns) + self._latency_ns
        out.append(Message(instant(seen_ns, Kind.NOTICE), self._replica + 1, sample_ns, sample))
