"""Rebalancing: the requests that live migration moves from busy replicas to idle ones."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from cluster_sim.routing.recovery.migration_options import RebalanceOptions


class Movable(NamedTuple):
    """A request that could move."""

    request_id: int
    position: int
    """Of its replica."""
    tokens: int
    """Its prompt and the tokens so far, which another replica would compute again."""
    dispatch_ns: int


class Move(NamedTuple):
    """A request that moves, and the position that it goes to."""

    request_id: int
    destination: int


def moves(options: RebalanceOptions, loads: Mapping[int, int], movable: Sequence[Movable]) -> list[Move]:
    """Return what moves, given the requests in flight at each eligible position.

    Each move goes from the most loaded position that has something movable to the least loaded one, the first among
    equals, until the difference is below the threshold.
    """
    left = dict(loads)
    by_position: dict[int, list[Movable]] = {}
    for candidate in movable:
        by_position.setdefault(candidate.position, []).append(candidate)
    for candidates in by_position.values():
        candidates.sort(key=_shortest_last if options.victim == "shortest" else _latest_last)
    found: list[Move] = []
    while len(found) < options.max_moves:
        sources = [position for position in left if by_position.get(position)]
        if not sources:
            break
        source = min(sources, key=lambda position: (-left[position], position))
        destination = min(left, key=lambda position: (left[position], position))
        if left[source] - left[destination] < options.threshold:
            break
        found.append(Move(by_position[source].pop().request_id, destination))
        left[source] -= 1
        left[destination] += 1
    return found


def _shortest_last(candidate: Movable) -> tuple[int, int]:
    return -candidate.tokens, -candidate.request_id


def _latest_last(candidate: Movable) -> tuple[int, int]:
    return candidate.dispatch_ns, candidate.request_id
