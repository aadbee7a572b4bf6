"""Executors for tests: a sequential reference without any protocol, and one in memory with random delays."""

from collections.abc import Callable
from typing import Any

from actors.columns import Codec
from actors.frames import FrameKind, Link, pack_reply, pack_window, unpack_reply, unpack_window
from cluster_sim.engine.coordinator import Coordinator, ProcessLink
from cluster_sim.engine.group import Group, Reply, Window
from cluster_sim.engine.instant import Instant
from cluster_sim.engine.loop import DirectExchange, run_loop

Choose = Callable[[int], int]
"""Returns a number below its argument: a study, a placement or the delays of an exchange as drawn by a test."""


class RandomExchange:
    """Windows and replies held back and reordered at will, each one through a real frame and back."""

    def __init__(self, groups: dict[int, Group], codec: Codec, choose: Choose) -> None:
        self._groups = groups
        self._codec = codec
        self._choose = choose
        self._links = {index: (Link("test", 0, index), Link("test", 0, index)) for index in groups}
        self._windows: list[tuple[int, bytes]] = []
        self._replies: list[tuple[int, bytes]] = []

    def send(self, windows: dict[int, Window]) -> None:
        """Put the frames on the way."""
        for index, window in windows.items():
            self._windows.append(
                (index, self._links[index][0].seal(FrameKind.WINDOW, pack_window(self._codec, window)))
            )

    def collect(self) -> list[tuple[int, Reply]]:
        """Let random frames arrive until at least one reply does."""
        while True:
            if self._windows and (not self._replies or self._choose(2)):
                self._serve(*self._windows.pop(self._choose(len(self._windows))))
            elif self._choose(2):
                break
        arrived = []
        while self._replies and (not arrived or self._choose(2)):
            index, frame = self._replies.pop(self._choose(len(self._replies)))
            kind, body = self._links[index][0].open(frame)
            assert kind is FrameKind.REPLY
            arrived.append((index, unpack_reply(self._codec, body)))
        return arrived

    def _serve(self, index: int, frame: bytes) -> None:
        kind, body = self._links[index][1].open(frame)
        assert kind is FrameKind.WINDOW
        reply = self._groups[index].step(unpack_window(self._codec, body))
        self._replies.append((index, self._links[index][1].seal(FrameKind.REPLY, pack_reply(self._codec, reply))))


def split(count: int, groups: int) -> list[list[int]]:
    """Return leaf indices dealt out to groups in turn."""
    return [list(range(at, count, groups)) for at in range(min(groups, count))]


def run_in_groups(
    hub: Any,
    leaves: list[Any],
    links: list[ProcessLink],
    run_end: Instant,
    exchange_of: Callable[[dict[int, Group]], Any] = DirectExchange,
) -> Coordinator:
    """Run a study under the protocol with the placement that ``links`` states; return the coordinator's books."""
    by_source = {leaf.source: leaf for leaf in leaves}
    groups: dict[int, Group] = {}
    for index in sorted({link.group for link in links}):
        members = [link for link in links if link.group == index]
        wiring = {link.source: link.wiring for link in members}
        groups[index] = Group([by_source[link.source] for link in members], wiring, hub.observation)
    coordinator = Coordinator(hub, links, run_end)
    run_loop(hub, coordinator, exchange_of(groups))
    for group in groups.values():
        group.finish(run_end)
    return coordinator


def run_sequentially(hub: Any, leaves: list[Any], run_end: Instant) -> None:
    """Run a study as one sequential program: always the earliest event of all, everybody else brought up to it."""
    by_source = {leaf.source: leaf for leaf in leaves}
    while True:
        at = min(hub.next_at(), *(leaf.next_event() for leaf in leaves))
        if at >= run_end:
            break
        for leaf in leaves:
            hub.absorb(leaf.advance(at))
        if hub.next_at() == at:
            for send in hub.handle():
                by_source[send.leaf].receive(send.message)
        else:
            for leaf in leaves:
                if leaf.next_event() == at:
                    hub.absorb(leaf.advance(at + 1))
    for leaf in leaves:
        leaf.finish(run_end)
