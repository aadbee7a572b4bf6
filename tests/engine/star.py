"""Runs of any hub and its logical processes: sequential without any protocol, and under the protocol in groups."""

from collections.abc import Callable
from typing import Any

from cluster_sim.engine.coordinator import Coordinator, ProcessLink
from cluster_sim.engine.group import Group, LinkDelays
from cluster_sim.engine.instant import Instant
from cluster_sim.engine.loop import DirectExchange, Observer, run_loop
from cluster_sim.engine.process import Join


def split(count: int, groups: int) -> list[list[int]]:
    """Return process indices dealt out to groups in turn."""
    return [list(range(first, count, groups)) for first in range(min(groups, count))]


def run_in_groups(
    hub: Any,
    processes: list[Any],
    links: list[ProcessLink],
    run_end: Instant,
    exchange_of: Callable[[dict[int, Group]], Any] = DirectExchange,
    build: Callable[[int], Any] | None = None,
    observer: Observer | None = None,
) -> Coordinator:
    """Run a study under the protocol with the placement that ``links`` states; return the coordinator.

    ``build`` makes the processes that join, by their sources; they come into ``processes``.
    """

    def join(source: int, _join: Join) -> tuple[Any, LinkDelays]:
        assert build is not None
        processes.append(build(source))
        return processes[-1], links[0].delays

    def link_of_joining(source: int, _join: Join) -> ProcessLink:
        return ProcessLink(source, links[source % len(links)].group, links[0].delays, links[0].floors)

    by_source = {process.source: process for process in processes}
    groups: dict[int, Group] = {}
    for index in sorted({link.group for link in links}):
        members = [link for link in links if link.group == index]
        delays = {link.source: link.delays for link in members}
        groups[index] = Group([by_source[link.source] for link in members], delays, hub.observation, join)
    coordinator = Coordinator(hub, links, run_end, link_of_joining=link_of_joining)
    run_loop(hub, coordinator, exchange_of(groups), observer)
    for group in groups.values():
        group.finish(run_end)
    return coordinator


def run_sequentially(
    hub: Any, processes: list[Any], run_end: Instant, build: Callable[[int], Any] | None = None
) -> None:
    """Run a study as one sequential program: always the earliest event of all, everybody else brought up to it."""
    by_source = {process.source: process for process in processes}
    while True:
        event = min(hub.next_event(), *(process.next_event() for process in processes))
        if event >= run_end:
            break
        for process in processes:
            hub.absorb(process.advance(event))
        if hub.next_event() == event:
            for send in hub.handle():
                if isinstance(send.message.payload, Join):
                    assert build is not None
                    by_source[send.receiver] = build(send.receiver)
                    processes.append(by_source[send.receiver])
                by_source[send.receiver].receive(send.message)
        else:
            for process in processes:
                if process.next_event() == event:
                    hub.absorb(process.advance(event + 1))
    for process in processes:
        process.finish(run_end)
