"""Samples of cached prefixes by hand: what is told of one cache, of ranks, and after a crash."""

from typing import Any, cast

from cluster_sim.engine.instant import Kind, instant
from cluster_sim.engine.observation import Grid
from cluster_sim.engine.process import Message
from cluster_sim.serving.content_sampler import PREFIXES, PrefixSampler
from cluster_sim.serving.lives.return_link import ReturnLink
from cluster_sim.serving.messages import PrefixSample

GRID = Grid(PREFIXES, 10, 3, frozenset({PREFIXES}))


class Cache:
    """A cache that has these changes to tell."""

    def __init__(self) -> None:
        self.changes: list[tuple[int, int]] = []

    def changed_prefixes(self) -> list[tuple[int, int]]:
        changes, self.changes = self.changes, []
        return changes


class Engine:
    """A scheduler of some caches."""

    def __init__(self, caches: int) -> None:
        self.caches = [Cache() for _ in range(caches)]

    def reporting_caches(self) -> list[Cache]:
        return self.caches


def told(sampler: PrefixSampler, engine: Engine, last_ns: int) -> list[Message]:
    out: list[Message] = []
    sampler.sample_until(last_ns, cast(Any, engine), out)
    return out


def test_changes_are_seen_after_the_latency() -> None:
    """What changed before 10 is seen at 13; where nothing has changed nothing is sent."""
    sampler, engine = PrefixSampler(4, 1, GRID, ReturnLink(0)), Engine(1)
    sampler.start(0)
    assert told(sampler, engine, 5) == []
    engine.caches[0].changes = [(7, 2), (9, 4)]
    (message,) = told(sampler, engine, 10)
    assert message == Message(instant(13, Kind.NOTICE), 5, -21, PrefixSample(4, ((7, 2), (9, 4))))
    assert told(sampler, engine, 30) == []


def test_the_best_of_ranks_counts() -> None:
    """A prefix of two blocks at one rank and of five at another has five, and two once the other has lost it."""
    sampler, engine = PrefixSampler(0, 1, GRID, ReturnLink(0)), Engine(2)
    sampler.start(0)
    engine.caches[0].changes, engine.caches[1].changes = [(7, 2)], [(7, 5)]
    assert told(sampler, engine, 0)[0].payload.changes == ((7, 5),)
    engine.caches[0].changes = [(7, 3)]
    assert told(sampler, engine, 10) == []
    engine.caches[1].changes = [(7, -1)]
    assert told(sampler, engine, 20)[0].payload.changes == ((7, 3),)


def test_a_new_life_has_an_empty_cache() -> None:
    """Everything that was told is gone after a crash, but for what the new engine has cached since."""
    sampler, engine = PrefixSampler(0, 1, GRID, ReturnLink(0)), Engine(1)
    sampler.start(0)
    engine.caches[0].changes = [(7, 2), (9, 4)]
    told(sampler, engine, 0)
    engine = Engine(1)
    engine.caches[0].changes = [(9, 1)]
    assert told(sampler, engine, 10)[0].payload.changes == ((7, -1), (9, 1))
