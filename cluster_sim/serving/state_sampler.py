"""Sampling of a replica's state at fixed instants: ticks of its time series, and samples for the router.

All are grids of simulated time; what is taken at T shows everything below (T, kind SAMPLE).  The state only changes at
events, so everything taken between two events shows the same, and inside a fast-forward it follows from the closed
form.
"""

from collections.abc import Sequence
from typing import Final

from cluster_sim.engine.instant import KIND_BITS, NEVER, Instant, Kind, instant, time_of
from cluster_sim.engine.process import Message
from cluster_sim.recording.replica_log import ReplicaLog
from cluster_sim.serving.content_sampler import ADAPTERS, PREFIXES, AdapterSampler, PrefixSampler
from cluster_sim.serving.fast_forward.data_parallel_decode import DataParallelDecode
from cluster_sim.serving.fast_forward.planned_decode import PlannedDecode
from cluster_sim.serving.grid_sampler import GridSampler
from cluster_sim.serving.lives.return_link import ReturnLink
from cluster_sim.serving.messages import Sample
from cluster_sim.serving.replica_settings import ReplicaSettings
from cluster_sim.serving.schedulers.base import Scheduler

_SAMPLE: Final = Kind.SAMPLE
_CONTENTS: Final = {PREFIXES: PrefixSampler, ADAPTERS: AdapterSampler}
"""Grids whose samples have types of their own."""


class StateSampler:
    """The ticks and samples of one replica."""

    def __init__(
        self, settings: ReplicaSettings, log: ReplicaLog, grids: Sequence[GridSampler], link: ReturnLink
    ) -> None:
        """The routers' own telemetry is the grid with the number 0, if it is periodic."""
        self._replica = settings.index
        self._kv_blocks = settings.limits.kv_blocks
        self._log = log
        self._series_interval_ns = settings.series_interval_ns
        self._interval_ns = 0
        self._grids = grids
        self._telemetry = grids[0] if grids and not grids[0].number else None
        self._tick_ns = 0
        self._link = link
        self._probed = (0, 0, 0)
        self.next_due: Instant = NEVER
        """The earliest tick or sample to come; nothing has to be done for events below it."""
        self.next_sample: Instant = NEVER
        """The earliest sample to come."""
        self._barriers = [grid for grid in grids if grid.is_barrier]
        self.barrier: Instant = NEVER
        """The earliest sample to come that no fast-forward may cross."""

    def start(self, birth_ns: int) -> None:
        """Begin at ``birth_ns``."""
        self._interval_ns = self._series_interval_ns
        if self._interval_ns:
            self._tick_ns = (birth_ns // self._interval_ns + 1) * self._interval_ns
        for grid in self._grids:
            grid.start(birth_ns)
        self._set_next()

    def change(self, grids: Sequence[GridSampler], now_ns: int) -> None:
        """Sample on other grids from ``now_ns`` on; ticks go on."""
        self._grids = grids
        self._telemetry = grids[0] if grids and not grids[0].number else None
        self._barriers = [grid for grid in grids if grid.is_barrier]
        self.barrier = NEVER
        for grid in grids:
            grid.start(now_ns)
        self._set_next()

    def stop(self) -> None:
        """Take no more ticks and samples."""
        self._interval_ns = 0
        for grid in self._grids:
            grid.stop()
        self._set_next()

    def _set_next(self) -> None:
        sample = NEVER
        for grid in self._grids:
            sample = grid.next_due if grid.next_due < sample else sample  # noqa: FURB136 - a call costs five times as much
        self.next_sample = sample
        tick = self._tick_ns << KIND_BITS | _SAMPLE if self._interval_ns else NEVER
        self.next_due = tick if tick < sample else sample  # noqa: FURB136
        if self._barriers:
            self.barrier = min(grid.next_due for grid in self._barriers)

    def has_news(self, scheduler: Scheduler) -> bool:
        """Return whether the state differs from what the last sample of the routers' telemetry showed."""
        telemetry = self._telemetry
        return telemetry is not None and telemetry.next_due < NEVER and telemetry.has_news(scheduler)

    def sample_until(self, limit: Instant, scheduler: Scheduler, out: list[Message]) -> None:
        """Take every tick and sample below ``limit``; the state has not changed since the last event."""
        last_ns = (limit - 1 - _SAMPLE) >> KIND_BITS
        if self._interval_ns and self._tick_ns <= last_ns:
            running, waiting, used = scheduler.running_count, scheduler.waiting_count, scheduler.kv_used_blocks
            count = (last_ns - self._tick_ns) // self._interval_ns + 1
            self._log.ticks(self._tick_ns, self._interval_ns, count, running, waiting, used)
            for rank, state in zip(self._log.ranks, scheduler.rank_states(), strict=True) if self._log.ranks else ():
                rank.entered = self._log.entered
                rank.ticks(self._tick_ns, self._interval_ns, count, *state)
            self._tick_ns += count * self._interval_ns
        for grid in self._grids:
            if grid.next_due < limit:
                grid.sample_until(last_ns, scheduler, out)
        self._set_next()

    def report(self, horizon: Instant, scheduler: Scheduler, out: list[Message]) -> None:
        """Take the samples below ``horizon``, which somebody waits for.

        Ticks wait for the next event: how far horizons run beyond a run's last event depends on placement, and the
        series may not.
        """
        last_ns = (horizon - 1 - _SAMPLE) >> KIND_BITS
        for grid in self._grids:
            if grid.next_due < horizon:
                grid.sample_until(last_ns, scheduler, out)
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
                if self._log.ranks:
                    self._tick_ranks(planned, scheduler)
                self._tick_ns += self._interval_ns
        for grid in self._grids:
            if grid.next_due < limit:
                grid.sample_during(planned, last_ns, scheduler, out)
        self._set_next()

    def _tick_ranks(self, planned: PlannedDecode, scheduler: Scheduler) -> None:
        """Take the tick of every rank in a fast-forward."""
        assert isinstance(planned, DataParallelDecode), "ranks decode together"
        more = planned.rank_blocks_before(self._tick_ns)
        states = zip(self._log.ranks, scheduler.rank_states(), strict=True)
        for number, (rank, (running, waiting, used)) in enumerate(states):
            rank.entered = self._log.entered
            rank.tick(self._tick_ns, running, waiting, used + more.get(number, 0))

    @staticmethod
    def state_of(scheduler: Scheduler) -> tuple[int, int, int]:
        """Return (running, waiting, KV blocks in use)."""
        return scheduler.running_count, scheduler.waiting_count, scheduler.kv_used_blocks

    def probe(self, horizon: Instant, scheduler: Scheduler, out: list[Message]) -> None:
        """Show the state at ``horizon`` at once: perfect instantaneous telemetry."""
        state = self.state_of(scheduler)
        now_ns = time_of(horizon)
        if state != self._probed and horizon < NEVER and self._link.sets_out_ns(now_ns) == now_ns:
            self._probed = state
            sample = Sample(self._replica, state[0], state[1], state[2] / self._kv_blocks)
            out.append(Message(instant(now_ns, Kind.SAMPLE), self._replica + 1, now_ns, sample))


def grid_samplers(settings: ReplicaSettings, link: ReturnLink) -> list[GridSampler]:
    """Return a sampler for the routers' telemetry, if it is periodic, and for each further grid."""
    index, kv_blocks = settings.index, settings.limits.kv_blocks
    samplers: list[GridSampler] = []
    if settings.sample_period_ns:
        period_ns, latency_ns = settings.sample_period_ns, settings.sample_latency_ns
        samplers.append(GridSampler(index, kv_blocks, 0, period_ns, latency_ns, link, samples_kv=settings.samples_kv))
    for number, grid in enumerate(settings.grids, 1):
        if grid.name in _CONTENTS:
            samplers.append(_CONTENTS[grid.name](index, number, grid, link))
            continue
        samples_kv = "kv_used_ratio" in grid.fields
        samplers.append(
            GridSampler(index, kv_blocks, number, grid.period_ns, grid.latency_ns, link, samples_kv=samples_kv)
        )
    return samplers
