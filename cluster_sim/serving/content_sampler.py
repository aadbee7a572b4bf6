"""Samples of what a replica holds beside counts: the prefixes in its cache (KV events) and its LoRA adapters.

Each has a grid of its own and reports everything that has changed since its last sample.  A cache changes with every
step that takes blocks, so no fast-forward may cross an instant of its grid; adapters only change when requests start or
end, which ends a fast-forward anyway.
"""

from collections.abc import Callable
from typing import Final

from cluster_sim.engine.instant import Kind, instant
from cluster_sim.engine.observation import Grid
from cluster_sim.engine.process import Message
from cluster_sim.serving.grid_sampler import GridSampler
from cluster_sim.serving.kv_cache.prefix_changes import NONE_LEFT
from cluster_sim.serving.lives.return_link import ReturnLink
from cluster_sim.serving.messages import AdapterSample, PrefixSample
from cluster_sim.serving.schedulers.base import Scheduler

PREFIXES: Final = "prefixes"
"""Name of the grid of KV events."""
ADAPTERS: Final = "adapters"
"""Name of the grid of LoRA adapters."""


class ContentSampler(GridSampler):
    """The samples of one replica on a grid whose samples have a type of their own."""

    def __init__(self, replica: int, number: int, grid: Grid, link: ReturnLink) -> None:
        super().__init__(replica, 1, number, grid.period_ns, grid.latency_ns, link, samples_kv=False)

    def has_news(self, scheduler: Scheduler) -> bool:
        """Return that nothing is new: who reads such a grid waits for its samples by a gate."""
        return False

    def _send(self, sample_ns: int, place: int, sample: PrefixSample | AdapterSample, out: list[Message]) -> None:
        """Send a sample; ``place`` tells samples of one instant apart, which other samples do by numbers from 0 on."""
        seen_ns = self._link.sets_out_ns(sample_ns) + self._latency_ns
        out.append(Message(instant(seen_ns, Kind.NOTICE), self._replica + 1, -place - 2 * sample_ns, sample))


class PrefixSampler(ContentSampler):
    """KV events of one replica."""

    is_barrier = True

    def __init__(self, replica: int, number: int, grid: Grid, link: ReturnLink) -> None:
        super().__init__(replica, number, grid, link)
        self._scheduler: Scheduler | None = None
        """The scheduler whose caches were asked last: a new life has a new one, with empty caches."""
        self._ends: dict[int, int] = {}
        """Ends of prefixes by name, as they were reported."""
        self._cache_ends: list[dict[int, int]] = []
        """The same of every cache, where ranks have caches of their own."""

    def _sample(self, sample_ns: int, scheduler: Scheduler, more_blocks: int, out: list[Message]) -> None:
        changes = self._changes(scheduler)
        if changes:
            self._send(sample_ns, 1, PrefixSample(self._replica, tuple(changes)), out)

    def _changes(self, scheduler: Scheduler) -> list[tuple[int, int]]:
        """Return (name, end) of the prefixes that differ from the last report, by name."""
        caches = scheduler.reporting_caches()
        changes: dict[int, int] = {}
        if scheduler is not self._scheduler:
            changes = dict.fromkeys(self._ends, NONE_LEFT)
            self._scheduler = scheduler
            self._cache_ends = [{} for _ in caches]
        for cache, ends in zip(caches, self._cache_ends, strict=True):
            for name, end in cache.changed_prefixes():
                ends[name] = changes[name] = end
        if len(caches) > 1:  # A request may go to any rank, so what the best of them holds counts.
            changes = {name: max(ends.get(name, NONE_LEFT) for ends in self._cache_ends) for name in changes}
        found = [(name, end) for name, end in sorted(changes.items()) if self._ends.get(name, NONE_LEFT) != end]
        for name, end in found:
            if end == NONE_LEFT:
                del self._ends[name]
            else:
                self._ends[name] = end
        return found


class AdapterSampler(ContentSampler):
    """LoRA adapters of one replica."""

    def __init__(self, replica: int, number: int, grid: Grid, link: ReturnLink) -> None:
        super().__init__(replica, number, grid, link)
        self._shown: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())

    def _sample(self, sample_ns: int, scheduler: Scheduler, more_blocks: int, out: list[Message]) -> None:
        state = scheduler.adapters()
        if state != self._shown:
            self._shown = state
            self._send(sample_ns, 2, AdapterSample(self._replica, *state), out)


def reporting(build: Callable[[], Scheduler]) -> Scheduler:
    """Return a new scheduler whose caches report their prefixes."""
    scheduler = build()
    for cache in scheduler.reporting_caches():
        cache.track_prefixes()
    return scheduler
